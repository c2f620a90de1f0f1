//! Short texts: names, addresses, hosts, paths, durations, sizes, entity tags. Each has one canonical form, which is read
//! as itself.

use std::time::Duration;

use controlplane::StoreUrl;
use controlplane::registry::conditions::{Conditions, Tags};
use serde_json::Value;
use shared::change::Revision;
use shared::model::{
    Address, HostPattern, PathPrefix, ServiceName, UpstreamId, format_duration, format_size, host, parse_duration,
    parse_size, path,
};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    names(text);
    address(text);
    hosts(text);
    paths(text);
    numbers(text);
    tags(text);
    if let Ok(url) = text.parse::<StoreUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url));
    }
}

fn names(text: &str) {
    let in_url = |name: &str| name == text && name.bytes().all(|b| b.is_ascii_graphic() && !b"/?#%".contains(&b));
    if let Ok(name) = ServiceName::try_from(text) {
        assert!(in_url(name.as_str()));
    }
    if let Ok(id) = UpstreamId::try_from(text) {
        assert!(in_url(id.as_str()));
    }
}

fn address(text: &str) {
    let Ok(address) = Address::try_from(text) else { return };
    let again = Address::try_from(address.as_str()).expect("the canonical form is one");
    assert_eq!(again.as_str(), address.as_str());
    assert_ne!(address.port(), 0);
    match address.socket_addr() {
        Some(socket) => assert_eq!(socket.to_string(), address.as_str()),
        None => assert_eq!(format!("{}:{}", address.host(), address.port()), address.as_str()),
    }
    if address.as_str().len() <= 128 && !address.as_str().starts_with('_') {
        assert!(UpstreamId::try_from(address.as_str()).is_ok(), "{address}");
    }
}

fn hosts(text: &str) {
    let canonical = host::canonical(text);
    assert!(!canonical.bytes().any(|b| b.is_ascii_uppercase()));
    assert!(HostPattern::Any.matches(&canonical));
    let Ok(pattern) = HostPattern::try_from(text) else {
        return;
    };
    let shown = pattern.to_string();
    assert_eq!(HostPattern::try_from(&*shown).as_ref(), Ok(&pattern));
    if let HostPattern::Exact(name) = &pattern {
        for spelled in [format!("{name}:8080"), format!("{name}."), name.to_ascii_uppercase()] {
            assert!(pattern.matches(&host::canonical(&spelled)), "{spelled}");
        }
        assert!(!HostPattern::Wildcard(name.clone()).matches(name));
        assert!(HostPattern::Wildcard(name.clone()).matches(&format!("a.{name}")));
    }
}

fn paths(text: &str) {
    if let Ok(normal) = path::normalise(text) {
        assert_eq!(path::normalise(&normal).as_ref(), Ok(&normal));
        assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
        assert_eq!(
            normal.matches('/').count(),
            text.matches('/').count(),
            "no separator comes about"
        );
    }
    if let Ok(prefix) = PathPrefix::try_from(text) {
        assert_eq!(PathPrefix::try_from(prefix.as_str()).as_ref(), Ok(&prefix));
        let normal = path::normalise(text).expect("a prefix is a path");
        assert!(prefix.matches(&normal));
        let below = format!("{}/x", prefix.compared());
        assert!(prefix.matches(&below));
        let beside = format!("{}x", prefix.compared());
        assert!(prefix.compared().is_empty() || !prefix.matches(&beside));
    }
}

fn numbers(text: &str) {
    if let Ok(duration) = parse_duration(text) {
        // Whatever it is added to does not overflow.
        assert!(duration <= Duration::from_secs(366 * 24 * 3600));
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }
    let number = text.parse::<u64>().map(Value::from);
    for value in [Value::from(text)].into_iter().chain(number) {
        if let Ok(size) = parse_size(&value) {
            assert_eq!(parse_size(&format_size(size)), Ok(size));
        }
    }
}

fn tags(text: &str) {
    let Some(tags) = Tags::parse(text) else { return };
    if let Tags::List(list) = &tags {
        let shown: Vec<String> = list
            .iter()
            .map(|tag| format!("{}\"{}\"", if tag.weak { "W/" } else { "" }, tag.opaque))
            .collect();
        assert_eq!(Tags::parse(&shown.join(", ")).as_ref(), Some(&tags));
    }
    let only_if = Conditions {
        if_match: Some(tags.clone()),
        if_none_match: None,
    };
    let only_if_not = Conditions {
        if_match: None,
        if_none_match: Some(tags),
    };
    assert!(!only_if.hold(None) && only_if_not.hold(None));
    // Strongly equal is weakly equal.
    assert!(!only_if.hold(Some(Revision(7))) || !only_if_not.hold(Some(Revision(7))));
}

//! The small languages: names, addresses, hosts, durations, sizes.

use std::time::Duration;

use serde_json::json;

use crate::model::{
    Address, HostPattern, Limit, ServiceName, UpstreamId, format_duration, format_size, host, parse_duration,
    parse_size,
};

#[test]
fn names() {
    for good in ["a", "0", "web", "a._-", "a.b-c_d9"] {
        assert_eq!(ServiceName::try_from(good).unwrap().as_str(), good);
    }
    for bad in ["", ".a", "-a", "_a", "A", "a/b", "a b", "ä", "a:1"] {
        assert!(ServiceName::try_from(bad).is_err(), "{bad}");
    }
    for good in ["127.0.0.1:3000", "[::1]:80", "Blue-1", "a_b.c:1", &"a".repeat(128)] {
        assert_eq!(UpstreamId::try_from(good).unwrap().as_str(), good);
    }
    for bad in ["", ":1", "]a", "a/b", "a%b", "a b", &"a".repeat(129)] {
        assert!(UpstreamId::try_from(bad).is_err(), "{bad}");
    }
}

#[test]
fn addresses_have_one_form() {
    for (text, form, host, port, literal) in [
        ("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1", 80, true),
        ("[::1]:65535", "[::1]:65535", "::1", 65535, true),
        ("[2001:DB8:0:0::1]:1", "[2001:db8::1]:1", "2001:db8::1", 1, true),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80", "10.0.0.1", 80, true),
        (
            "Backend.Internal.:80",
            "backend.internal:80",
            "backend.internal",
            80,
            false,
        ),
        ("my_service:3000", "my_service:3000", "my_service", 3000, false),
        ("1a.2b:80", "1a.2b:80", "1a.2b", 80, false),
    ] {
        let address = Address::try_from(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (address.as_str(), address.host(), address.port()),
            (form, host, port),
            "{text}"
        );
        assert_eq!(address.socket_addr().is_some(), literal, "{text}");
        assert_eq!(Address::try_from(form).unwrap(), address);
    }
    for bad in [
        "",
        "80",
        ":80",
        "a",
        "a:",
        "a:0",
        "a:080",
        "a:+80",
        "a:65536",
        "a:b",
        "::1:80",
        "[::1]",
        "[::1:80",
        "[a]:80",
        "[fe80::1%1]:80",
        "127.1:80",
        "256.0.0.1:80",
        "127.0.0.01:80",
        "1.2.3.0x7f:80",
        "a b:80",
        "-a:80",
        "a..b:80",
        "ä:80",
        "http://a:80",
        "a:80/",
        " a:80",
    ] {
        assert!(Address::try_from(bad).is_err(), "{bad}");
    }
    let long = format!("{}a:80", "a.".repeat(127));
    assert!(Address::try_from(&*long).is_err());
}

#[test]
fn host_patterns_have_one_form() {
    for (text, form) in [
        ("*", "*"),
        ("API.Example.com.", "api.example.com"),
        ("*.Example.org", "*.example.org"),
        ("10.0.0.1", "10.0.0.1"),
        ("[0::1]", "[::1]"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(HostPattern::try_from(text).unwrap().to_string(), form);
    }
    for bad in [
        "", ".", "a.*", "*a.b", "**.b", "*.", "a:80", "[::1]:80", "http://a", "a/b", "a..b", "ä.de", "a b", "[x]",
    ] {
        assert!(HostPattern::try_from(bad).is_err(), "{bad}");
    }
}

#[test]
fn hosts_are_compared_without_port_dot_and_case() {
    for (raw, form) in [
        ("a.example", "a.example"),
        ("A.example.:8080", "a.example"),
        ("a.example:", "a.example"),
        ("a.example..", "a.example."),
        ("[::1]:80", "[::1]"),
        ("[::A]", "[::a]"),
        ("::1", "::1"),
        ("a:b", "a:b"),
        ("", ""),
    ] {
        assert_eq!(host::canonical(raw), form, "{raw}");
    }
    assert!(matches!(host::canonical("a.example:80"), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn durations() {
    for (text, ms, form) in [
        ("1500ms", 1_500, "1500ms"),
        ("5s", 5_000, "5s"),
        ("5000ms", 5_000, "5s"),
        ("2m", 120_000, "2m"),
        ("1m", 60_000, "60s"),
        ("90s", 90_000, "90s"),
        ("1h", 3_600_000, "1h"),
        ("90m", 5_400_000, "90m"),
        ("0s", 0, "0s"),
        ("24h", 86_400_000, "24h"),
        ("8760h", 31_536_000_000, "8760h"),
    ] {
        let duration = Duration::from_millis(ms);
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
        assert_eq!(format_duration(duration), form);
        assert_eq!(parse_duration(form), Ok(duration));
    }
    for bad in [
        "",
        "5",
        "s",
        "5 s",
        "-5s",
        "+5s",
        "1.5s",
        "5S",
        "1d",
        "1h30m",
        "8761h",
        "99999999999999999999h",
        "ms",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn sizes() {
    for (value, bytes, form) in [
        (json!(10_485_760), 10_485_760, json!("10MiB")),
        (json!("10MB"), 10_000_000, json!("10MB")),
        (json!("10MiB"), 10_485_760, json!("10MiB")),
        (json!("1KiB"), 1024, json!(1024)),
        (json!("1KB"), 1000, json!(1000)),
        (json!("7B"), 7, json!(7)),
        (json!(0), 0, json!(0)),
        (json!(1_000_001), 1_000_001, json!(1_000_001)),
        (json!("2TB"), 2_000_000_000_000_u64, json!("2TB")),
    ] {
        assert_eq!(parse_size(&value), Ok(bytes), "{value}");
        assert_eq!(format_size(bytes), form);
        assert_eq!(parse_size(&form), Ok(bytes));
    }
    let refusal = |text: &str| parse_size(&serde_json::from_str(text).unwrap()).expect_err(text);
    for bad in [
        "\"\"",
        "\"MB\"",
        "\"10\"",
        "\"10 MB\"",
        "\"10mb\"",
        "\"-1MB\"",
        "1.5",
        "null",
    ] {
        assert!(refusal(bad).starts_with("a size is an integer or a string"), "{bad}");
    }
    for (bad, detail) in [
        ("-1", "a size is not negative: 0 is the least"),
        ("-0.5", "a size is not negative: 0 is the least"),
        ("9007199254740992", "a size is at most 2^53 - 1 bytes"),
        ("1000000000000000000000000000000", "a size is at most 2^53 - 1 bytes"),
        ("\"9999999999TB\"", "a size is at most 2^53 - 1 bytes"),
    ] {
        assert_eq!(refusal(bad), detail, "{bad}");
    }
}

#[test]
fn what_is_no_json_is_called_that() {
    for bad in ["", "{", "threshold: 1", r#"{"threshold":1} x"#, "{'threshold':1}"] {
        let invalid = Limit::parse("5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b", bad).expect_err(bad);
        assert!(
            invalid.errors[0].detail.starts_with("this cannot be read as JSON: "),
            "{bad}: {invalid}"
        );
    }
}

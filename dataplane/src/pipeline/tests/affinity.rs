use std::collections::HashMap;

use shared::change::Kind;

use super::*;
use crate::view::View;

const BY_USER: &str = r#"{"match":[{}],"balance":{"consistent_hash":{"header":"x-user"}}}"#;

fn by_user(weights: &[(&str, u16)]) -> (std::sync::Arc<Views>, Registry) {
    let (views, mut registry) = deployed("random", weights);
    registry.service("web", BY_USER);
    registry.deploy(&views);
    (views, registry)
}

fn admit_user(view: &View, user: &str) -> Admitted {
    let headers: &[(&str, &str)] = &[("X-User", user)];
    let meta = RequestMeta {
        headers: &headers,
        ..meta("/")
    };
    admit(view, &meta).ok().unwrap()
}

/// Where each of so many users goes, nothing staying in flight.
fn homes(views: &Views, users: usize) -> HashMap<usize, String> {
    let home = |user: usize| {
        let admitted = admit_user(&views.now(), &format!("user-{user}"));
        (user, pick_id(views, &admitted, &Tried::default()))
    };
    (0..users).map(home).collect()
}

#[test]
fn a_user_stays_and_only_those_move_whose_upstream_goes() {
    let (views, mut registry) = by_user(&[("a", 1), ("b", 1), ("c", 2), ("d", 0)]);
    let before = homes(&views, 2000);
    assert_eq!(homes(&views, 2000), before);
    assert_eq!(
        homes(&by_user(&[("a", 1), ("b", 1), ("c", 2)]).0, 2000),
        before,
        "on every proxy"
    );
    let at = |homes: &HashMap<usize, String>, id: &str| homes.values().filter(|home| *home == id).count();
    assert!((900..1100).contains(&at(&before, "c")), "by weight");
    assert!((400..600).contains(&at(&before, "a")));

    registry.delete(Kind::Upstream, "web/a");
    registry.deploy(&views);
    let after = homes(&views, 2000);
    let moved = before.iter().filter(|(user, home)| after[user] != **home);
    assert!(moved.clone().all(|(_, home)| home == "a"));
    assert_eq!(moved.count(), at(&before, "a"));
    assert!((580..760).contains(&at(&after, "b")), "evenly to the others");

    // Another address is the same upstream to its users.
    registry.upstream("b", r#"{"address":"127.0.0.1:77"}"#);
    registry.deploy(&views);
    assert_eq!(homes(&views, 2000), after);
}

#[test]
fn one_user_does_not_overload_an_upstream() {
    let (views, _) = by_user(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let admitted = admit_user(&views.now(), "busy");
    let reader = views.reader();
    let mut counts = BTreeMap::<String, u64>::new();
    let mut held = Vec::new();
    for requests in 1..=400_u64 {
        let picked = pick(&reader, &admitted, &Tried::default()).ok().unwrap();
        *counts.entry(picked.endpoint().identity().id.to_string()).or_default() += 1;
        held.push(picked);
        let most = (requests * 5).div_ceil(16);
        assert!(counts.values().all(|count| *count <= most), "{requests}: {counts:?}");
    }
    let most = counts.values().max().unwrap();
    assert_eq!(*most, 125, "as many as may stay together");
}

#[test]
fn one_that_is_down_or_tried_is_passed_over() {
    let (views, _) = by_user(&[("a", 1), ("b", 1), ("c", 1)]);
    let admitted = admit_user(&views.now(), "someone");
    let mut tried = Tried::default();
    let first = pick(&views.reader(), &admitted, &tried).ok().unwrap();
    tried.add(first.endpoint());
    let second = pick_id(&views, &admitted, &tried);
    assert_ne!(second, first.endpoint().identity().id.as_str());
    let later = Instant::now() + Duration::from_secs(3600);
    first.endpoint().health().failed(later);
    assert_eq!(
        pick_id(&views, &admitted, &Tried::default()),
        second,
        "the next of its own order"
    );
}

#[test]
fn without_the_header_the_less_loaded_is_chosen() {
    let (views, _) = by_user(&[("a", 1), ("b", 1)]);
    let counts = spread(&views, 1000);
    assert!((400..600).contains(&counts["a"]), "{counts:?}");
}

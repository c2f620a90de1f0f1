use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::fixture::{Registry, admit, meta};
use crate::view::Views;

/// How often each of `picks` goes where, nothing staying in flight.
fn spread(views: &Views, picks: usize) -> BTreeMap<String, usize> {
    let reader = views.reader();
    let admitted = reader.with(|view| admit(view, &meta("/"))).ok().unwrap();
    let mut counts = BTreeMap::new();
    for _ in 0..picks {
        *counts.entry(pick_id(views, &admitted, &Tried::default())).or_default() += 1;
    }
    counts
}

fn pick_id(views: &Views, admitted: &Admitted, tried: &Tried) -> String {
    let picked = pick(&views.reader(), admitted, tried).ok().unwrap();
    picked.endpoint().identity().id.to_string()
}

fn refusal(views: &Views, admitted: &Admitted, tried: &Tried) -> Verdict {
    pick(&views.reader(), admitted, tried).err().unwrap()
}

fn deployed(balance: &str, weights: &[(&str, u16)]) -> (std::sync::Arc<Views>, Registry) {
    let views = Views::new(2);
    let mut registry = Registry::web(balance);
    for (at, (id, weight)) in weights.iter().enumerate() {
        registry.upstream(
            id,
            &format!(r#"{{"address":"127.0.0.1:{}","weight":{weight}}}"#, at + 1),
        );
    }
    registry.deploy(&views);
    dice::seed(7);
    (views, registry)
}

#[test]
fn round_robin_is_smooth() {
    let (views, _) = deployed("round_robin", &[("a", 5), ("b", 1), ("c", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let order: String = (0..14).map(|_| pick_id(&views, &admitted, &Tried::default())).collect();
    assert_eq!(order, "aabacaaaabacaa");
}

#[test]
fn round_robin_goes_on_where_it_was_over_a_swap() {
    let (views, mut registry) = deployed("round_robin", &[("a", 1), ("b", 1), ("c", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let mut order = pick_id(&views, &admitted, &Tried::default());
    for port in 10..15 {
        registry.upstream("z", &format!(r#"{{"address":"127.0.0.1:{port}","weight":0}}"#));
        registry.deploy(&views);
        order += &pick_id(&views, &admitted, &Tried::default());
    }
    assert_eq!(order, "abcabc");
}

#[test]
fn chance_follows_the_weights() {
    for balance in ["random", "least_request"] {
        let (views, _) = deployed(balance, &[("a", 3), ("b", 1), ("c", 0)]);
        let counts = spread(&views, 4000);
        assert!((2800..3200).contains(&counts["a"]), "{balance}: {counts:?}");
        assert_eq!(counts["a"] + counts["b"], 4000, "{balance}: weight 0 takes nothing");
    }
}

#[test]
fn the_less_loaded_of_two_is_chosen_by_its_weight() {
    let (views, _) = deployed("least_request", &[("a", 1), ("b", 2)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let held: Vec<_> = (0..300)
        .map(|_| pick(&views.reader(), &admitted, &Tried::default()).ok().unwrap())
        .collect();
    let at_b = held
        .iter()
        .filter(|picked| picked.endpoint().identity().id.as_str() == "b");
    assert!(
        (199..=201).contains(&at_b.count()),
        "twice the weight carries twice as much"
    );
}

#[test]
fn weight_zero_everywhere_is_no_upstream() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, _) = deployed(balance, &[("a", 0), ("b", 0)]);
        let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
        let refused = refusal(&views, &admitted, &Tried::default());
        assert!(matches!(refused, Verdict::NoUpstream { .. }), "{balance}: {refused:?}");
    }
}

#[test]
fn tried_ones_come_last_and_those_marked_down_not_at_all() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, _) = deployed(balance, &[("a", 1), ("b", 1), ("c", 1)]);
        let reader = views.reader();
        let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
        let mut tried = Tried::default();
        for _ in 0..3 {
            let picked = pick(&reader, &admitted, &tried).ok().unwrap();
            assert!(!tried.contains(picked.endpoint()), "{balance}");
            tried.add(picked.endpoint());
        }
        assert!(
            pick(&reader, &admitted, &tried).is_ok(),
            "{balance}: nothing else is left"
        );

        let view = views.now();
        let pool = view.pools().next().unwrap();
        let (down, rest) = pool.candidates().split_at(2);
        // A pause that no slow machine outlasts.
        let later = Instant::now() + Duration::from_secs(3600);
        down.iter()
            .for_each(|candidate| candidate.endpoint.health().failed(later));
        assert_eq!(spread(&views, 20), BTreeMap::from([("c".to_owned(), 20)]), "{balance}");
        rest[0].endpoint.health().failed(later);
        match refusal(&views, &admitted, &Tried::default()) {
            Verdict::NoUpstream { retry_after } => {
                assert!(retry_after > Duration::from_secs(60), "the pause that is left")
            }
            other => panic!("{balance}: {other:?}"),
        }
        down[0].endpoint.health().succeeded();
        assert_eq!(pick_id(&views, &admitted, &Tried::default()), "a", "{balance}");
    }
}

#[test]
fn one_that_gave_no_answer_is_tried_by_one_request_after_its_pause() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, _) = deployed(balance, &[("a", 1), ("b", 1)]);
        let view = views.now();
        let pool = view.pools().next().unwrap();
        let [a, b] = [0, 1].map(|at| &pool.candidates()[at].endpoint);
        // Its first pause is over.
        let before = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        assert!(pool.care().suspend(a, before));
        let counts = spread(&views, 40);
        assert_eq!(counts, BTreeMap::from([("a".into(), 1), ("b".into(), 39)]), "{balance}");
        // That gave no answer, either; and of two no more than one is ejected.
        assert!(pool.care().suspend(a, Instant::now()) && !pool.care().suspend(b, Instant::now()));
        assert!(a.health().is_ejected(Instant::now) && b.health().is_up(), "{balance}");
        a.health().reinstate();
        assert!(spread(&views, 40)["a"] > 5, "{balance}");
    }
}

#[test]
fn one_that_is_warming_is_used_when_nothing_else_is_left() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, mut registry) = deployed(balance, &[("a", 1)]);
        registry.service(
            "web",
            &format!(r#"{{"match":[{{}}],"balance":"{balance}","health_check":{{"path":"/"}}}}"#),
        );
        registry.deploy(&views);
        registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
        registry.deploy(&views);
        assert_eq!(spread(&views, 20), BTreeMap::from([("a".to_owned(), 20)]), "{balance}");
        // The only one moves.
        registry.delete(shared::change::Kind::Upstream, "web/a");
        registry.deploy(&views);
        assert_eq!(spread(&views, 20), BTreeMap::from([("b".to_owned(), 20)]), "{balance}");
    }
}

#[test]
fn one_that_came_live_begins_slowly() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, mut registry) = deployed(balance, &[("a", 1)]);
        let service = |slow: &str| {
            format!(r#"{{"match":[{{}}],"balance":"{balance}","upstream_care":{{"slow_start":"{slow}"}}}}"#)
        };
        registry.service("web", &service("24h"));
        registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
        registry.deploy(&views);
        let counts = spread(&views, 4400);
        assert!(
            (300..500).contains(&counts["b"]),
            "{balance}: a tenth of its weight, {counts:?}"
        );
        registry.service("web", &service("0s"));
        registry.deploy(&views);
        let counts = spread(&views, 2000);
        assert!((850..1150).contains(&counts["b"]), "{balance}: {counts:?}");
    }
}

#[test]
fn no_upstream_has_more_in_flight_than_it_may() {
    for balance in ["random", "least_request", "round_robin"] {
        let (views, mut registry) = deployed(balance, &[("a", 1), ("b", 9), ("c", 0)]);
        let fields = format!(r#""balance":"{balance}","upstream_care":{{"max_in_flight":3}}"#);
        registry.service("web", &format!(r#"{{"match":[{{}}],{fields}}}"#));
        registry.deploy(&views);
        let reader = views.reader();
        let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
        let mut held: Vec<_> = (0..6)
            .map(|_| pick(&reader, &admitted, &Tried::default()).ok().unwrap())
            .collect();
        assert_eq!(
            refusal(&views, &admitted, &Tried::default()),
            Verdict::Busy,
            "{balance}"
        );
        held.swap_remove(2);
        assert!(pick(&reader, &admitted, &Tried::default()).is_ok(), "{balance}");
    }
}

#[test]
fn refusals_before_any_upstream() {
    let views = Views::new(1);
    let mut registry = Registry::default();
    registry.service("web", r#"{"match":[{"hosts":["example.com"]}],"max_body":10}"#);
    registry.deploy(&views);
    let refused = |meta: RequestMeta<'_>| admit(&views.now(), &meta).err();
    assert_eq!(
        refused(RequestMeta {
            host: "other",
            ..meta("/")
        }),
        Some(Verdict::NoRoute)
    );
    assert!(matches!(refused(meta("/a/../b")), Some(Verdict::BadRequest { .. })));
    let large = RequestMeta {
        length: Some(11),
        ..meta("/")
    };
    assert_eq!(refused(large), Some(Verdict::TooLarge { bytes_max: 10 }));
    assert_eq!(
        refused(RequestMeta {
            length: Some(10),
            ..meta("/")
        }),
        None
    );
}

#[test]
fn a_service_is_for_whom_its_lists_let_in() {
    let views = Views::new(1);
    let mut registry = Registry::default();
    registry.service(
        "web",
        r#"{"match":[{}],"allow":["127.0.0.0/8"],"deny":["127.0.0.2/32"]}"#,
    );
    registry.deploy(&views);
    let refused = |client: [u8; 4]| {
        let client = client.into();
        admit(&views.now(), &RequestMeta { client, ..meta("/") }).err()
    };
    assert_eq!(refused([127, 0, 0, 1]), None);
    assert_eq!(refused([127, 0, 0, 2]), Some(Verdict::Denied));
    assert_eq!(refused([10, 0, 0, 1]), Some(Verdict::Denied));
}

#[test]
fn an_authorization_ends_with_the_service_that_gave_it() {
    let (views, mut registry) = deployed("random", &[("a", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    registry.upstream("b", r#"{"address":"127.0.0.1:9"}"#);
    registry.deploy(&views);
    assert!(
        pick(&views.reader(), &admitted, &Tried::default()).is_ok(),
        "its upstreams are no part of it"
    );
    registry.service("web", r#"{"match":[{}],"balance":"round_robin"}"#);
    registry.deploy(&views);
    assert_eq!(refusal(&views, &admitted, &Tried::default()), Verdict::Stale);
}

mod affinity;
mod handover;
mod holding;

#[test]
fn nothing_is_sent_after_the_end_of_a_lease_that_forbids_it() {
    let (views, _) = deployed("random", &[("a", 1)]);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let now = net::clock::boottime();
    views.send_until(Some(now + Duration::from_secs(60)));
    assert_eq!(pick_id(&views, &admitted, &Tried::default()), "a");
    views.send_until(Some(now));
    assert!(matches!(
        refusal(&views, &admitted, &Tried::default()),
        Verdict::NoUpstream { .. }
    ));
    views.send_until(None);
    assert_eq!(pick_id(&views, &admitted, &Tried::default()), "a");
}

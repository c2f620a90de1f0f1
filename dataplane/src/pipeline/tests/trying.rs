//! Who finds out whether an upstream that was set aside is well again.

use std::sync::Arc;

use super::*;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::{Doubt, Standing};

const BALANCES: [&str; 3] = ["random", "least_request", "round_robin"];

fn endpoint(views: &Views, id: &str) -> Arc<Endpoint> {
    let view = views.now();
    let pool = view.pools().next().unwrap();
    pool.endpoint(&id.try_into().unwrap()).unwrap().clone()
}

fn long_ago() -> Instant {
    Instant::now().checked_sub(Duration::from_secs(10)).unwrap()
}

/// Fails, and its pause is over.
fn fail(endpoint: &Arc<Endpoint>, doubt: Doubt) {
    match doubt {
        Doubt::Connects => endpoint.health().failed(long_ago()),
        doubt => assert!(endpoint.care().suspend(endpoint, doubt, long_ago())),
    }
}

/// Of `picks`, so many go to `a` while all stay in flight.
fn at_a(views: &Views, picks: usize, tried: &Tried) -> (usize, Vec<Picked>) {
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let picked = (0..picks).map(|_| pick(&views.reader(), &admitted, tried).ok().unwrap());
    let picked: Vec<Picked> = picked.collect();
    let at_a = picked.iter().filter(|one| one.endpoint().identity().id.as_str() == "a");
    (at_a.count(), picked)
}

#[test]
fn no_request_goes_to_one_in_doubt_while_another_is_up() {
    for balance in BALANCES {
        for doubt in [Doubt::Connects, Doubt::Answers, Doubt::Completes] {
            let (views, _) = deployed(balance, &[("a", 1), ("b", 1), ("c", 1)]);
            let a = endpoint(&views, "a");
            fail(&a, doubt);
            assert_eq!(at_a(&views, 60, &Tried::default()).0, 0, "{balance}, {doubt:?}");
            assert_eq!(a.health().standing(Instant::now), Standing::Doubted(doubt));
            assert!(!a.health().begin_probe(), "it is called for: {balance}, {doubt:?}");
            // While nobody else is up it goes there.
            for id in ["b", "c"] {
                endpoint(&views, id)
                    .health()
                    .failed(Instant::now() + Duration::from_secs(3600));
            }
            assert!(at_a(&views, 40, &Tried::default()).0 > 0, "{balance}, {doubt:?}");
            a.health().succeeded();
            assert_eq!(at_a(&views, 40, &Tried::default()).0, 40, "{balance}, {doubt:?}");
        }
    }
}

#[test]
fn nor_when_the_others_are_full() {
    let (views, mut registry) = deployed("random", &[("a", 1), ("b", 1)]);
    registry.service("web", r#"{"match":[{}],"upstream_care":{"max_in_flight":2}}"#);
    registry.deploy(&views);
    fail(&endpoint(&views, "a"), Doubt::Answers);
    let (at_a, held) = at_a(&views, 2, &Tried::default());
    assert_eq!((at_a, held.len()), (0, 2));
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    assert_eq!(refusal(&views, &admitted, &Tried::default()), Verdict::Busy);
}

#[test]
fn the_only_upstream_is_used_however_it_stands() {
    for balance in BALANCES {
        let (views, _) = deployed(balance, &[("a", 1)]);
        let a = endpoint(&views, "a");
        // A pause that no slow machine outlasts.
        a.health().failed(Instant::now() + Duration::from_secs(3600));
        assert_eq!(a.health().standing(Instant::now), Standing::Paused);
        assert_eq!(at_a(&views, 20, &Tried::default()).0, 20, "{balance}");
    }
}

#[test]
fn of_one_that_takes_no_connections_no_crowd_is_made() {
    let (views, _) = deployed("random", &[("a", 1)]);
    let later = Instant::now() + Duration::from_secs(3600);
    endpoint(&views, "a").health().failed(later);
    let admitted = admit(&views.now(), &meta("/")).ok().unwrap();
    let mut held = Vec::new();
    while let Ok(picked) = pick(&views.reader(), &admitted, &Tried::default()) {
        held.push(picked);
        assert!(held.len() <= 10_000, "there is no end");
    }
    assert!(held.len() > 100);
    held.pop();
    assert!(pick(&views.reader(), &admitted, &Tried::default()).is_ok());
}

#[test]
fn no_more_than_half_are_set_aside_for_what_is_no_answer() {
    for balance in BALANCES {
        let (views, _) = deployed(balance, &[("a", 1), ("b", 1)]);
        let [a, b] = ["a", "b"].map(|id| endpoint(&views, id));
        fail(&a, Doubt::Answers);
        let now = Instant::now();
        assert!(!b.care().suspend(&b, Doubt::Answers, now), "{balance}");
        assert!(a.health().is_ejected(|| now) && b.health().is_up(), "{balance}");
        // Its probe fails.
        assert!(a.care().suspend(&a, Doubt::Answers, now), "{balance}");
        a.health().reinstate();
        assert!(at_a(&views, 40, &Tried::default()).0 > 5, "{balance}");
    }
}

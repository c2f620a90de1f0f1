//! Limits of how many are in flight.

use shared::quota::AccountId;
use tokio::task::{spawn_local, yield_now};

use super::owner::{Stage, story};
use crate::limiter::Decided;
use crate::pipeline::Verdict;

/// How many hold a permit of the first limit.
fn in_flight(stage: &Stage) -> u32 {
    let account = AccountId::of(stage.id(0).0, b"");
    let gates = stage.views.limiter().gates.get();
    gates.map_or(0, |gates| gates.look(account.key).in_flight)
}

#[test]
fn as_many_are_in_flight_as_may_be_until_one_of_them_is_over() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1000,"concurrent":2}"#]).await;
        let (first, second) = (stage.ask("/").await.unwrap(), stage.ask("/").await.unwrap());
        let refused = stage.ask("/").await.unwrap_err();
        let Verdict::TooManyInFlight { most: 2, is_all, .. } = refused else {
            panic!("{refused:?}")
        };
        assert!(is_all);
        let clone = first.clone();
        drop(first);
        assert!(stage.ask("/").await.is_err(), "its answer is not at its end");
        drop(clone);
        let third = stage.ask("/").await.unwrap();
        assert_eq!(in_flight(&stage), 2);
        drop((second, third));
        assert_eq!(in_flight(&stage), 0);
    });
}

#[test]
fn whoever_is_admitted_again_holds_what_it_held() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1000,"concurrent":1}"#]).await;
        let first = stage.ask("/").await.unwrap();
        let again = stage.ask_again("/", first).await.unwrap();
        assert_eq!(in_flight(&stage), 1);
        // A limit that comes meanwhile takes a permit of its own, beside the one that is held.
        stage.put(1, r#"{"threshold":1000,"concurrent":1}"#);
        let again = stage.ask_again("/", again).await.unwrap();
        assert_eq!((in_flight(&stage), again.accounts.len()), (1, 2));
        assert!(stage.ask("/").await.is_err());
        drop(again);
        assert!(stage.ask("/").await.is_ok());
    });
}

#[test]
fn a_request_that_is_refused_for_something_else_holds_nothing() {
    story(async || {
        let limits = [r#"{"threshold":1000,"concurrent":1}"#, r#"{"threshold":1}"#];
        let stage = Stage::new(&limits).await;
        drop(stage.ask("/").await.unwrap());
        for _ in 0..3 {
            let refused = stage.ask("/").await.unwrap_err();
            assert!(matches!(refused, Verdict::QuotaExceeded { .. }), "{refused:?}");
        }
        assert_eq!(in_flight(&stage), 0);
        stage.put(1, r#"{"threshold":1000}"#);
        assert!(stage.ask("/").await.is_ok());
    });
}

#[test]
fn whoever_may_wait_goes_on_when_one_ends() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1000,"concurrent":1,"delay_max":"1h"}"#]).await;
        let stage = std::rc::Rc::new(stage);
        let first = stage.ask("/").await.unwrap();
        let waiting = stage.clone();
        let second = spawn_local(async move { waiting.ask("/").await });
        stage.turns(1).await;
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap().is_ok());
    });
}

#[test]
fn one_that_observes_lets_pass_and_counts_what_it_would_refuse() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1000,"concurrent":1,"mode":"observe"}"#]).await;
        let tally = stage.views.limiter().tallies().of(stage.id(0));
        // The first one asks for a permit, and does not wait for it.
        while in_flight(&stage) == 0 {
            drop(stage.ask("/").await.unwrap());
            let held = stage.ask("/").await.unwrap();
            if in_flight(&stage) == 1 {
                let before = tally.sum(Decided::WouldRefuse);
                drop(stage.ask("/").await.unwrap());
                assert_eq!(tally.sum(Decided::WouldRefuse), before + 1);
                drop(held);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn cut_off_from_its_owner_a_proxy_goes_on_with_what_it_holds() {
    story(async || {
        let closed = r#"{"threshold":1000,"concurrent":3,"on_unreachable":"closed","period":3600}"#;
        let open = r#"{"threshold":1000,"concurrent":3,"on_unreachable":"open","period":3600}"#;
        for (limit, is_open) in [(closed, false), (open, true)] {
            let stage = Stage::new(&[limit]).await;
            let held = [stage.ask("/").await.unwrap(), stage.ask("/").await.unwrap()];
            let third = stage.ask("/").await.unwrap();
            drop(third);
            stage.owner_stands_still();
            while !stage.is_cut_off() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let third = stage.ask("/").await.unwrap();
            assert_eq!(in_flight(&stage), 3);
            assert_eq!(stage.ask("/").await.is_ok(), is_open);
            assert_eq!(in_flight(&stage), 3, "what nobody counts holds nothing");
            drop((held, third));
        }
    });
}

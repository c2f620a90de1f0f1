//! What limits can do besides refusing one request too many: observe, cost more than one, let wait for a turn.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use super::is_refused;
use super::owner::{Stage, story};
use crate::limiter::Decided;
use crate::pipeline::Verdict;

#[test]
fn what_observes_lets_pass_and_counts_what_it_would_not() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":4,"mode":"observe"}"#, r#"{"threshold":10}"#]).await;
        let first = stage.ask("/").await.unwrap();
        assert_eq!(
            first.least.map(|quota| quota.threshold),
            Some(10),
            "the other one is named"
        );
        // Admitted again it is not counted again.
        assert!(stage.ask_again("/", first).await.is_ok());
        assert_eq!(stage.admitted(20, "/").await, 9);
        let tally = stage.views.limiter().tallies().of(stage.id(0));
        // What the other refused does not count.
        while tally.sum(Decided::WouldRefuse) + tally.sum(Decided::Admitted) < 10 {
            tokio::task::yield_now().await;
        }
        let sums = [Decided::Admitted, Decided::WouldRefuse, Decided::Refused].map(|decided| tally.sum(decided));
        assert_eq!(sums, [4, 6, 0]);
    });
}

#[test]
fn what_nobody_answers_about_is_told_apart() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":4,"mode":"observe"}"#]).await;
        stage.owner_stands_still();
        assert_eq!(stage.admitted(7, "/").await, 7);
        let tally = stage.views.limiter().tallies().of(stage.id(0));
        while tally.sum(Decided::Uncounted) < 7 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tally.sum(Decided::Admitted), 0);
    });
}

#[test]
fn whoever_costs_more_has_fewer() {
    for fields in ["", r#","algorithm":"fixed""#, r#","period":3600"#] {
        story(async || {
            let stage = Stage::new(&[&format!(r#"{{"threshold":100,"cost":30{fields}}}"#)]).await;
            assert_eq!(stage.admitted(9, "/").await, 3);
        });
    }
}

#[test]
fn a_large_request_that_is_refused_leaves_the_rest_to_small_ones() {
    for fields in ["", r#","algorithm":"fixed""#, r#","period":3600"#] {
        story(async || {
            let cost = r#"{"request_header":"x-cost"}"#;
            let stage = Stage::new(&[&format!(r#"{{"threshold":100,"cost":{cost}{fields}}}"#)]).await;
            assert!(stage.ask_for("70").await.is_ok());
            assert!(is_refused(&stage.ask_for("31").await));
            assert!(is_refused(&stage.ask_for("70").await));
            assert!(stage.ask_for("29").await.is_ok());
            assert!(stage.ask_for("1").await.is_ok());
            assert!(is_refused(&stage.ask_for("1").await));
        });
    }
}

#[test]
fn what_costs_more_than_a_period_has_never_passes() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":100,"cost":{"request_header":"x-cost"}}"#]).await;
        let outcome = stage.ask_for("101").await;
        assert!(matches!(outcome, Err(Verdict::CostsTooMuch { .. })), "{outcome:?}");
        let outcome = stage.ask_for("many").await;
        assert!(matches!(outcome, Err(Verdict::BadRequest { .. })), "{outcome:?}");
        assert!(stage.ask_for("100").await.is_ok(), "neither took anything");
    });
}

#[test]
fn what_was_reserved_and_not_used_is_for_others() {
    let limit = |fields: &str| {
        let cost = r#"{"reserve":40,"settle_header":"x-used"}"#;
        format!(r#"{{"threshold":100,"cost":{cost}{fields}}}"#)
    };
    for fields in ["", r#","algorithm":"fixed""#, r#","period":3600"#] {
        // That many pass, however many more ask, when the answers say so.
        for (used, passes) in [
            (Some("10"), 7),
            (Some("0"), 20),
            (Some("41"), 2),
            (Some("ten"), 2),
            (None, 2),
        ] {
            story(async || {
                let stage = Stage::new(&[&limit(fields)]).await;
                let mut passed = 0;
                while passed < 20
                    && let Ok(counted) = stage.ask("/").await
                {
                    passed += 1;
                    stage.settle(&counted, used);
                }
                assert_eq!(passed, passes, "{used:?} {fields}");
            });
        }
    }
}

/// The answers come when the allowance that was reserved of is over: an edit ends it.
#[test]
fn what_was_reserved_and_not_used_comes_back_late() {
    let limit = |threshold: u32, fields: &str| {
        let cost = r#"{"reserve":50,"settle_header":"x-used"}"#;
        format!(r#"{{"threshold":{threshold},"cost":{cost},{fields}}}"#)
    };
    for fields in [
        r#""period":60"#,
        r#""algorithm":"fixed","period":3600"#,
        r#""period":120"#,
    ] {
        story(async || {
            let stage = Stage::new(&[&limit(100, fields)]).await;
            let mut reserved = Vec::new();
            while let Ok(counted) = stage.ask("/").await {
                reserved.push(counted);
            }
            stage.put(0, &limit(101, fields));
            assert!(is_refused(&stage.ask("/").await));
            // Of 50 each.
            [30, 20]
                .iter()
                .zip(&reserved)
                .for_each(|(used, of)| stage.settle(of, Some(&used.to_string())));
            while stage.ask("/").await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(is_refused(&stage.ask("/").await), "there is one left");
        });
    }
}

#[test]
fn what_observes_reservations_counts_what_was_used() {
    story(async || {
        let cost = r#"{"reserve":40,"settle_header":"x-used"}"#;
        let stage = Stage::new(&[&format!(r#"{{"threshold":100,"mode":"observe","cost":{cost}}}"#)]).await;
        let tally = stage.views.limiter().tallies().of(stage.id(0));
        let pass = async |used: u32| {
            let counted = stage.ask("/").await.unwrap();
            stage.settle(&counted, Some(&used.to_string()));
            stage.is_observed().await;
        };
        // As long as the owner is not known nobody counts.
        while tally.sum(Decided::Admitted) == 0 {
            pass(10).await;
        }
        for used in [40, 40, 40] {
            pass(used).await;
        }
        let sums = [Decided::Admitted, Decided::WouldRefuse].map(|decided| tally.sum(decided));
        assert_eq!(sums, [3, 1]);
    });
}

#[test]
fn whoever_may_wait_has_a_turn_and_in_the_order_of_coming() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2,"period":1,"algorithm":"fixed","delay_max":"20s"}"#]).await;
        let order: Rc<RefCell<Vec<usize>>> = Rc::default();
        let mut asking = Vec::new();
        for n in 0..7 {
            let (asks, order) = (stage.asks("/"), order.clone());
            asking.push(spawn_local(async move {
                asks.await.unwrap().unwrap();
                order.borrow_mut().push(n);
            }));
            tokio::task::yield_now().await;
        }
        for asked in asking {
            asked.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(stage.views.limiter().turns().len(), 0);
        let tally = stage.views.limiter().tallies().of(stage.id(0));
        assert_eq!((tally.sum(Decided::Admitted), tally.sum(Decided::Refused)), (7, 0));
    });
}

#[test]
fn who_would_wait_in_vain_is_refused_at_once() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2,"period":60,"delay_max":"5s"}"#]).await;
        assert_eq!(stage.admitted(2, "/").await, 2);
        // The owner says when there will be something: a period later.
        let Err(Verdict::QuotaExceeded { retry_after, .. }) = stage.ask("/").await else {
            panic!("it is spent")
        };
        assert!(retry_after > Duration::from_secs(30), "{retry_after:?}");
        assert_eq!(stage.views.limiter().turns().len(), 0);
    });
}

#[test]
fn who_waits_for_a_turn_hears_of_an_edit_and_of_the_end() {
    story(async || {
        let limit = |threshold: u32| format!(r#"{{"threshold":{threshold},"period":60,"delay_max":"1h"}}"#);
        let stage = Stage::new(&[&limit(1)]).await;
        assert_eq!(stage.admitted(1, "/").await, 1);
        let waiting = [stage.asks("/"), stage.asks("/")];
        stage.turns(2).await;
        stage.put(0, &limit(2));
        let [first, second] = waiting;
        assert!(first.await.unwrap().is_ok());
        stage.turns(1).await;
        // Another behind it goes away.
        let third = stage.asks("/");
        stage.turns(2).await;
        third.abort();
        stage.turns(1).await;
        stage.views.limiter().end_turns();
        assert_eq!(second.await.unwrap(), Err(Verdict::Draining));
        assert_eq!(stage.ask("/").await, Err(Verdict::Draining));
        stage.turns(0).await;
    });
}

#[test]
fn a_limit_that_lets_wait_does_not_hold_up_what_another_one_refuses() {
    story(async || {
        let stage = Stage::new(&[
            r#"{"threshold":1,"period":60,"delay_max":"1h"}"#,
            r#"{"threshold":2,"period":60,"path":"/few"}"#,
        ])
        .await;
        assert_eq!(stage.admitted(1, "/few").await, 1);
        let waiting = stage.asks("/few");
        stage.turns(1).await;
        stage.delete(0);
        assert!(waiting.await.unwrap().is_ok());
        assert!(is_refused(&stage.ask("/few").await));
    });
}

#[test]
fn who_waits_for_a_turn_bears_an_owner_that_stands_still() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2,"period":60,"delay_max":"1h"}"#]).await;
        stage.views.limiter().lock().patience = Duration::from_millis(1);
        stage.owner_stands_still();
        let waiting = [stage.asks("/"), stage.asks("/")];
        stage.turns(2).await;
        stage.owner_goes_on();
        for asked in waiting {
            assert!(asked.await.unwrap().is_ok());
        }
    });
}

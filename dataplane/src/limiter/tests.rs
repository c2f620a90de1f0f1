//! The step against an owner in the same process, by the clocks of this machine.

mod kept;
pub(crate) mod owner;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use shared::quota::Said;
use tokio::task::spawn_local;

use self::owner::{Stage, story};
use super::Decided;
use crate::pipeline::{Counted, Verdict};

fn is_refused(outcome: &Result<Counted, Verdict>) -> bool {
    matches!(outcome, Err(Verdict::QuotaExceeded { .. }))
}

#[test]
fn without_limits_there_is_nothing() {
    story(async || {
        let stage = Stage::new(&[]).await;
        assert_eq!(stage.ask("/").await, Ok(Counted::default()));
        let limiter = stage.views.limiter();
        assert!(limiter.slots.get().is_none() && limiter.lock().machine.is_none());
        assert!(!limiter.tick());
    });
}

#[test]
fn as_many_as_the_limit_permits_and_no_more() {
    for fields in ["", r#","algorithm":"fixed","period":3600"#] {
        story(async || {
            let stage = Stage::new(&[&format!(r#"{{"threshold":40{fields}}}"#)]).await;
            assert_eq!(stage.admitted(100, "/").await, 40);
            // By now the slot says so, without asking.
            let Err(Verdict::QuotaExceeded {
                quota,
                retry_after,
                is_spent,
            }) = stage.ask("/").await
            else {
                panic!("it is spent")
            };
            assert!(is_spent && quota.threshold == 40 && retry_after > Duration::ZERO);
            let tally = stage.views.limiter().tallies().of(quota.id);
            assert_eq!((tally.sum(Decided::Admitted), tally.sum(Decided::Refused)), (40, 61));
        });
    }
}

#[test]
fn one_of_each_or_of_none() {
    story(async || {
        let all = r#"{"threshold":20}"#;
        let few = r#"{"threshold":5,"path":"/few"}"#;
        let fewer = r#"{"threshold":3,"path":"/few/er"}"#;
        let stage = Stage::new(&[all, few, fewer]).await;
        assert_eq!(stage.admitted(10, "/few/er").await, 3);
        assert_eq!(stage.admitted(10, "/few").await, 2);
        assert_eq!(stage.admitted(30, "/").await, 15);
    });
}

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

#[test]
fn nobody_gets_through_where_the_threshold_is_zero() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":0}"#]).await;
        assert_eq!(stage.admitted(5, "/").await, 0);
    });
}

#[test]
fn whoever_is_admitted_again_has_paid() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1}"#, r#"{"threshold":5,"path":"/other"}"#]).await;
        let first = stage.ask("/").await.unwrap();
        assert_eq!(first.accounts.len(), 1);
        let again = stage.ask_again("/", first.clone()).await.unwrap();
        assert_eq!(again, first);
        // Only what is new is taken.
        let other = stage.ask_again("/other", first).await.unwrap();
        assert_eq!(other.accounts.len(), 2);
        assert_eq!(stage.admitted(10, "/other").await, 0, "the first has no other token");
    });
}

#[test]
fn what_is_raised_is_asked_for_at_once_and_what_is_deleted_is_free() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2}"#]).await;
        assert_eq!(stage.admitted(5, "/").await, 2);
        stage.put(0, r#"{"threshold":10}"#);
        assert_eq!(stage.admitted(20, "/").await, 8);
        stage.put(0, r#"{"threshold":4}"#);
        assert_eq!(stage.admitted(5, "/").await, 0, "what was charged stays charged");
        stage.delete(0);
        assert_eq!(stage.admitted(5, "/").await, 5);
    });
}

#[test]
fn whoever_waits_hears_of_an_edit() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2}"#]).await;
        stage.owner_stands_still();
        let waiting = stage.asks("/");
        stage.waits(1).await;
        stage.delete(0);
        assert!(waiting.await.unwrap().is_ok());
    });
}

#[test]
fn who_has_gone_waits_no_longer() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2}"#]).await;
        stage.owner_stands_still();
        let waiting = stage.asks("/");
        stage.waits(1).await;
        waiting.abort();
        stage.waits(0).await;
        stage.owner_goes_on();
        assert_eq!(stage.admitted(5, "/").await, 2);
    });
}

#[test]
fn nobody_waits_for_longer_than_is_said() {
    for (on_unreachable, passes) in [("closed", false), ("share", false), ("open", true)] {
        story(async || {
            let limit = format!(r#"{{"threshold":9,"on_unreachable":"{on_unreachable}"}}"#);
            let stage = Stage::new(&[&limit]).await;
            stage.owner_stands_still();
            stage.views.limiter().lock().patience = Duration::from_millis(1);
            let outcome = stage.ask("/").await;
            assert_eq!(outcome.is_ok(), passes, "{on_unreachable}: {outcome:?}");
            stage.waits(0).await;
        });
    }
}

#[test]
fn a_request_that_more_limits_match_than_can_be_counted_is_refused() {
    story(async || {
        let limits = vec![r#"{"threshold":100}"#; 17];
        let stage = Stage::new(&limits).await;
        assert_eq!(stage.ask("/").await, Err(Verdict::TooManyLimits));
        stage.delete(16);
        assert_eq!(stage.ask("/").await.map(|counted| counted.accounts.len()), Ok(16));
    });
}

#[test]
fn what_is_not_spent_goes_back_at_the_end() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1000,"period":3600}"#]).await;
        assert!(stage.ask("/").await.is_ok());
        stage.owner_stands_still();
        let said = stage.views.limiter().leave();
        let unspent = said.iter().flat_map(|up| &up.items).map(|said| match said {
            Said::Return { used, unspent, .. } => (*used, *unspent > 0),
            _ => (0, false),
        });
        assert!(unspent.into_iter().any(|back| back == (1, true)), "{said:?}");
        stage.views.limiter().lock().patience = Duration::from_millis(1);
        assert!(is_refused(&stage.ask("/").await));
    });
}

#[test]
fn more_accounts_than_there_is_room_for_are_still_counted() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2,"key":"client_ip"}"#]).await;
        for round in 0..3 {
            for client in 0..1_200 {
                let admitted = stage.ask_from(client).await.is_ok();
                assert!(!(admitted && round == 2), "the third of client {client}");
            }
        }
    });
}

#[test]
fn a_limit_that_comes_again_is_told_of_again() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":2}"#]).await;
        let limiter = stage.views.limiter();
        for _ in 0..2 {
            stage.admitted(1, "/").await;
            let sums: Vec<u64> = limiter
                .tallies()
                .all()
                .values()
                .map(|of| of.sum(Decided::Admitted))
                .collect();
            assert_eq!(sums, [1]);
            stage.delete(0);
            assert!(limiter.tallies().all().is_empty());
            stage.put(0, r#"{"threshold":2}"#);
        }
    });
}

#[test]
fn another_store_is_followed_from_its_first_limit() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":3}"#]).await;
        assert_eq!(stage.admitted(5, "/").await, 3);
        stage.come_over(&[r#"{"threshold":4,"path":"/"}"#]).await;
        assert_eq!(stage.admitted(9, "/").await, 4);
    });
}

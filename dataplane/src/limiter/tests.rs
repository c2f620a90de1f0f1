//! The step against an owner in the same process, by the clocks of this machine.

mod in_flight;
mod kept;
mod kinds;
pub(crate) mod owner;

use std::time::Duration;

use shared::quota::Said;

use self::owner::{Stage, story};
use super::{Decided, PATIENCE, PATIENCE_MAX};
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
    for on_unreachable in ["closed", "share", "open"] {
        story(async || {
            let limit = format!(r#"{{"threshold":9,"on_unreachable":"{on_unreachable}"}}"#);
            let stage = Stage::new(&[&limit]).await;
            stage.owner_stands_still();
            stage.is_patient_for(Duration::from_millis(1));
            let outcome = stage.ask("/").await;
            let Err(Verdict::QuotaExceeded { is_spent, .. }) = outcome else {
                panic!("{on_unreachable}: {outcome:?}")
            };
            assert!(!is_spent, "{on_unreachable}: it has not answered, and that is all");
            stage.waits(0).await;
            let tallies = stage.views.limiter().tallies().all();
            let refused = tallies.values().map(|of| of.sum(Decided::Refused));
            assert_eq!(refused.collect::<Vec<_>>(), [1], "{on_unreachable}");
        });
    }
}

#[test]
fn only_who_cannot_ask_passes_uncounted() {
    story(async || {
        let open = r#"{"threshold":1,"on_unreachable":"open"}"#;
        let none = r#"{"threshold":0,"on_unreachable":"open","path":"/none"}"#;
        let stage = Stage::new(&[open, none]).await;
        stage.owner_stands_still();
        stage.is_patient_for(Duration::from_millis(1));
        while !stage.is_cut_off() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(stage.admitted(5, "/").await, 5);
        assert_eq!(stage.admitted(5, "/none").await, 0, "whoever counts, nobody passes");
        let tallies = stage.views.limiter().tallies().all();
        let uncounted = tallies.values().map(|of| of.sum(Decided::Uncounted));
        assert_eq!(uncounted.collect::<Vec<_>>(), [5, 0]);
    });
}

/// The patience that was: 50 ms, whatever it took before.
#[test]
fn who_is_answered_late_is_answered() {
    for (patience_max, all) in [(PATIENCE, false), (PATIENCE_MAX, true)] {
        story(async || {
            let stage = Stage::new(&[r#"{"threshold":9,"key":"client_ip"}"#]).await;
            {
                let limiter = stage.views.limiter();
                let mut inner = limiter.lock();
                (inner.patience, inner.patience_max) = (PATIENCE, patience_max);
            }
            stage.owner_answers_every(PATIENCE * 4);
            let mut admitted = 0;
            for client in 0..10 {
                admitted += u32::from(stage.ask_from(client).await.is_ok());
            }
            assert_eq!(admitted == 10, all, "{admitted} of 10");
        });
    }
}

/// A client of SMTP that is put off comes again in minutes.
#[test]
fn mail_waits_for_a_late_owner_longer_than_a_request() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":9,"key":"client_ip"}"#]).await;
        {
            let limiter = stage.views.limiter();
            let mut inner = limiter.lock();
            (inner.patience, inner.patience_max) = (PATIENCE, PATIENCE);
        }
        stage.owner_answers_every(PATIENCE * 4);
        let mut requests = 0;
        for client in 0..10 {
            assert!(stage.mail_from(client).await.is_ok(), "{client}");
            requests += u32::from(stage.ask_from(100 + client).await.is_ok());
        }
        assert!(requests < 10, "the owner is late");
    });
}

#[test]
fn mail_does_not_wait_for_an_owner_that_is_away() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":1,"on_unreachable":"open"}"#]).await;
        stage.owner_stands_still();
        stage.is_patient_for(Duration::from_millis(1));
        while !stage.is_cut_off() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Of five seconds each they would hang.
        for client in 0..30 {
            assert!(stage.mail_from(client).await.is_ok());
        }
    });
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
        stage.is_patient_for(Duration::from_millis(1));
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

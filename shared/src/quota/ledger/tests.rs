use std::time::Duration;

use crate::change::Revision;
use crate::quota::OnUnreachable;

use super::*;

const NOW: Moment = Moment {
    label: Label::from_nanos(1_000_000_000_000_000),
    skipped: Duration::ZERO,
    claimed: Label::from_nanos(1_000_000_000_000_000),
    over: Label::from_nanos(1_000_000_000_000_000),
};

fn rule(threshold: u64) -> Rule {
    Rule {
        limit: Uuid::nil(),
        revision: Revision(1),
        algorithm: Algorithm::Sliding,
        period: Duration::from_secs(3_000),
        threshold,
        on_unreachable: OnUnreachable::Closed,
    }
}

fn op(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A ledger that has read an empty row and asked for a chunk, and what it asked for.
fn reserving(threshold: u64) -> (Ledger, Row) {
    let mut ledger = Ledger::default();
    let demand = Demand {
        queued: 10,
        least: 1,
        ..Demand::default()
    };
    assert_eq!(ledger.reserve(&rule(threshold), NOW, demand, op(1)), Some(Request::Get));
    assert_eq!(ledger.outcome(Outcome::Is(None)), None);
    match ledger.reserve(&rule(threshold), NOW, demand, op(1)) {
        Some(Request::Swap { expected: None, new }) => (ledger, new),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_is_granted_from_once_it_is_swapped() {
    let (mut ledger, _) = reserving(100);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 0);
    assert_eq!(ledger.outcome(Outcome::Swapped), None);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 10);
}

#[test]
fn an_unknown_outcome_is_found_to_be_done_repeated_or_stranded() {
    let (mut ledger, new) = reserving(100);
    assert_eq!(ledger.outcome(Outcome::Unknown), Some(Request::Get));
    let repeated = Request::Swap {
        expected: None,
        new: new.clone(),
    };
    assert_eq!(ledger.outcome(Outcome::Is(None)), Some(repeated));
    assert_eq!(ledger.outcome(Outcome::Unavailable), Some(Request::Get));
    assert_eq!(ledger.outcome(Outcome::Is(Some(CellValue::Row(new.clone())))), None);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 10);

    let (mut ledger, _) = reserving(100);
    assert_eq!(ledger.outcome(Outcome::Unknown), Some(Request::Get));
    let other = Row { op: op(2), ..new };
    assert_eq!(ledger.outcome(Outcome::Is(Some(CellValue::Row(other)))), None);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 0);
}

#[test]
fn no_chunk_takes_more_than_half_of_the_rest() {
    let (mut ledger, new) = reserving(12);
    assert_eq!(new.buckets.values().sum::<u64>(), 6);
    ledger.outcome(Outcome::Swapped);
    let demand = Demand {
        queued: 10,
        least: 1,
        ..Demand::default()
    };
    let Some(Request::Swap { new, .. }) = ledger.reserve(&rule(12), NOW, demand, op(2)) else {
        panic!("nothing is asked for");
    };
    assert_eq!(new.buckets.values().sum::<u64>(), 9);
}

/// Whatever is asked for: what is reserved is lost with its owner.
#[test]
fn no_chunk_takes_more_than_its_part_of_the_threshold() {
    let mut ledger = Ledger::default();
    let demand = Demand {
        rate: 1_000_000,
        least: 1,
        ..Demand::default()
    };
    assert_eq!(ledger.reserve(&rule(600), NOW, demand, op(1)), Some(Request::Get));
    ledger.outcome(Outcome::Is(None));
    assert!(ledger.reserve(&rule(600), NOW, demand, op(1)).is_some());
    ledger.outcome(Outcome::Swapped);
    assert_eq!(ledger.available(&rule(600), NOW, 0), 38);
}

#[test]
fn as_many_as_come_back_can_be_taken_at_once() {
    let mut ledger = Ledger::default();
    let demand = Demand {
        queued: 50,
        least: 50,
        ..Demand::default()
    };
    assert_eq!(ledger.reserve(&rule(100), NOW, demand, op(1)), Some(Request::Get));
    ledger.outcome(Outcome::Is(None));
    for n in [1, 2] {
        assert!(ledger.reserve(&rule(100), NOW, demand, op(n)).is_some());
        ledger.outcome(Outcome::Swapped);
        ledger.take(50);
    }
    assert_eq!(ledger.obtainable(&rule(100), NOW, 0), 0);
    ledger.refund(ledger.bucket(), 50, false);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 0, "the store has to give them");
    assert_eq!(ledger.obtainable(&rule(100), NOW, 0), 50);
    assert!(ledger.reserve(&rule(100), NOW, demand, op(3)).is_some());
    ledger.outcome(Outcome::Swapped);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 50);
    assert_eq!(ledger.obtainable(&rule(100), NOW, 0), 50, "the same ones");
}

#[test]
fn as_many_as_come_back_can_be_owed_and_are_once() {
    let (mut ledger, _) = reserving(100);
    ledger.outcome(Outcome::Swapped);
    ledger.take(10);
    ledger.add_carry(10);
    ledger.refund(ledger.bucket(), 10, false);
    assert!(ledger.reserve(&rule(100), NOW, Demand::default(), op(2)).is_some());
    ledger.outcome(Outcome::Swapped);
    assert_eq!((ledger.carry(), ledger.obtainable(&rule(100), NOW, 0)), (0, 90));
    assert_eq!(ledger.reserve(&rule(100), NOW, Demand::default(), op(3)), None);
}

#[test]
fn what_was_reserved_under_a_higher_threshold_goes_back() {
    let (mut ledger, _) = reserving(100);
    ledger.close();
    ledger.outcome(Outcome::Swapped);
    assert_eq!(ledger.available(&rule(3), NOW, 0), 0);
    let nothing = Demand::default();
    let Some(Request::Swap { new, .. }) = ledger.reserve(&rule(3), NOW, nothing, op(2)) else {
        panic!("nothing is put back");
    };
    assert_eq!(new.buckets.values().sum::<u64>(), 0);
}

#[test]
fn what_one_request_takes_is_reserved_at_once_if_it_is_there() {
    let mut ledger = Ledger::default();
    let demand = Demand {
        queued: 80,
        least: 80,
        ..Demand::default()
    };
    assert_eq!(ledger.reserve(&rule(100), NOW, demand, op(1)), Some(Request::Get));
    ledger.outcome(Outcome::Is(None));
    assert!(ledger.reserve(&rule(100), NOW, demand, op(1)).is_some());
    ledger.outcome(Outcome::Swapped);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 80);
    ledger.take(80);
    assert!(ledger.reserve(&rule(100), NOW, demand, op(2)).is_some());
    ledger.outcome(Outcome::Swapped);
    assert_eq!(ledger.available(&rule(100), NOW, 0), 20, "no more than there is");
}

#[test]
fn what_was_spent_early_is_charged_early_and_once() {
    let (mut ledger, new) = reserving(100);
    ledger.outcome(Outcome::Swapped);
    ledger.take(10);
    let charged = *new.buckets.keys().next().unwrap();
    ledger.spent(charged, charged - 1, 4);
    ledger.spent(charged, charged + 1, 6);
    let nothing = Demand::default();
    let reserve = |ledger: &mut Ledger, n| match ledger.reserve(&rule(100), NOW, nothing, op(n)) {
        Some(Request::Swap { new, .. }) => Some(new.buckets),
        _ => None,
    };
    let early = BTreeMap::from([(charged - 1, 4), (charged, 6)]);
    assert_eq!(reserve(&mut ledger, 2), Some(early.clone()));
    // What certainly was not done is done with the next one.
    ledger.outcome(Outcome::Unavailable);
    assert_eq!(reserve(&mut ledger, 3), None);
    ledger.outcome(Outcome::Is(Some(CellValue::Row(new))));
    assert_eq!(reserve(&mut ledger, 4), Some(early));
    ledger.outcome(Outcome::Swapped);
    assert_eq!(reserve(&mut ledger, 5), None);
}

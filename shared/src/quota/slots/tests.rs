use std::sync::atomic::AtomicBool;

use uuid::Uuid;

use super::*;

fn key(n: u64) -> KeyHash {
    KeyHash::of(Uuid::from_u128(7), &n.to_le_bytes())
}

fn need(n: u64) -> Need {
    Need { key: key(n), cost: 1 }
}

fn at(nanos: u64) -> impl Fn() -> Time {
    move || Time::from_nanos(nanos)
}

fn is_admitted(decision: Decision) -> bool {
    matches!(decision, Decision::Admitted { .. })
}

#[test]
fn takes_from_all_or_from_none() {
    let slots = Slots::new(64);
    slots.open(key(1), 5, Time::from_nanos(100), 0);
    slots.open(key(2), 1, Time::from_nanos(100), 0);
    let needs = [need(1), need(2)];
    assert!(is_admitted(slots.decide(&needs, at(10))));
    assert_eq!(slots.decide(&needs, at(10)), Decision::Short { need: 1 });
    assert_eq!((slots.rest(key(1)), slots.rest(key(2))), (4, 0));
}

#[test]
fn nothing_is_admitted_at_or_after_the_earliest_expiry() {
    let slots = Slots::new(64);
    slots.open(key(1), 5, Time::from_nanos(100), 0);
    slots.open(key(2), 5, Time::from_nanos(50), 0);
    assert_eq!(slots.decide(&[need(1), need(2)], at(50)), Decision::Short { need: 1 });
    assert!(is_admitted(slots.decide(&[need(1), need(2)], at(49))));
}

#[test]
fn a_put_back_reaches_only_the_allowance_that_it_was_taken_from() {
    let slots = Slots::new(64);
    for refilled in [false, true] {
        slots.close(key(1));
        slots.close(key(2));
        slots.open(key(1), 3, Time::from_nanos(100), 0);
        slots.open(key(2), 1, Time::from_nanos(100), 0);
        let needs = [need(1), need(2)];
        let mut attempt = Attempt::look(&slots, &needs);
        assert!(attempt.take_next());
        assert!(is_admitted(slots.decide(&needs[1..], at(1))));
        if refilled {
            assert_eq!(slots.close(key(1)), 2);
            slots.open(key(1), 10, Time::from_nanos(200), 0);
        }
        assert!(!attempt.take_next());
        attempt.put_back();
        assert_eq!(slots.rest(key(1)), if refilled { 10 } else { 3 });
    }
}

/// Of a refill with as many tokens as were there before: the word alone would not tell.
#[test]
fn a_token_is_not_taken_by_the_expiry_of_another_allowance() {
    let slots = Slots::new(64);
    slots.open(key(1), 3, Time::from_nanos(100), 0);
    let needs = [need(1)];
    let mut attempt = Attempt::look(&slots, &needs);
    slots.close(key(1));
    slots.open(key(1), 3, Time::from_nanos(50), 0);
    assert!(!attempt.take_next());
}

#[test]
fn the_low_mark_is_told_once_and_so_is_the_end() {
    let slots = Slots::new(64);
    slots.open(key(1), 4, Time::from_nanos(100), 2);
    let lows: Vec<u32> = (0..4)
        .map(|_| match slots.decide(&[need(1)], at(1)) {
            Decision::Admitted { low, .. } => low,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lows, [0, 1, 0, 1]);
}

#[test]
fn an_exhausted_account_is_refused_without_asking_until_it_is_time() {
    let slots = Slots::new(64);
    let retry = Time::from_nanos(50);
    slots.exhaust(key(1), retry);
    assert_eq!(slots.decide(&[need(1)], at(49)), Decision::Exhausted { need: 0, retry });
    assert_eq!(slots.decide(&[need(1)], at(50)), Decision::Short { need: 0 });
    assert_eq!((slots.take_refused(key(1)), slots.take_refused(key(1))), (1, 0));
}

/// Hashing them would take longer than all the rest.
fn any(n: u64) -> Need {
    let key = KeyHash::from_halves(n + 1, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Need { key, cost: 1 }
}

#[test]
fn however_many_accounts_there_are_they_take_no_more_room_and_lose_no_token() {
    const ACCOUNTS: u64 = 100_000;
    let slots = Slots::new(1 << 10);
    let (mut admitted, mut back) = (0, 0);
    for n in 0..ACCOUNTS {
        let evicted = slots.open(any(n).key, 2, Time::from_nanos(n + 1_000), 0);
        back += evicted.map_or(0, |evicted| u64::from(evicted.rest));
        admitted += u64::from(is_admitted(slots.decide(&[any(n)], at(n))));
    }
    let held: u64 = (0..ACCOUNTS).map(|n| u64::from(slots.rest(any(n).key))).sum();
    assert_eq!(admitted, ACCOUNTS);
    assert_eq!(back + held, ACCOUNTS);
}

/// Threads that decide against one that refills: what each allowance gave and what was left of it is what it held.
#[test]
fn what_is_taken_and_what_is_left_is_what_was_put_in() {
    let slots = Slots::new(64);
    let over = AtomicBool::new(false);
    let (given, admitted) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let needs = [need(1), need(2)];
                while !over.load(Ordering::Relaxed) {
                    let taken = u64::from(is_admitted(slots.decide(&needs, at(1))));
                    admitted.fetch_add(taken, Ordering::Relaxed);
                }
            });
        }
        for round in 0..2_000 {
            let rest = slots.close(key(1));
            given.fetch_sub(u64::from(rest), Ordering::Relaxed);
            given.fetch_add(3, Ordering::Relaxed);
            slots.open(key(1), 3, Time::from_nanos(100), 0);
            slots.close(key(2));
            slots.open(key(2), 1 + round % 5, Time::from_nanos(100), 0);
        }
        over.store(true, Ordering::Relaxed);
    });
    let given = given.load(Ordering::Relaxed) - u64::from(slots.rest(key(1)));
    // A token that could not be put back is lost, never found.
    assert!(admitted.load(Ordering::Relaxed) <= given);
}

#[test]
fn what_a_reservation_did_not_use_goes_back_once_and_only_where_it_came_from() {
    let slots = Slots::new(64);
    let reserve = |cost: u32| {
        let mut taken = None;
        let needs = [Need { key: key(1), cost }];
        let decision = slots.decide_noting(&needs, at(1), |attempt| taken = attempt.reserve(0));
        assert!(is_admitted(decision));
        taken.unwrap()
    };
    slots.open(key(1), 100, Time::from_nanos(100), 0);
    slots.settle(reserve(40), 15);
    assert_eq!((slots.rest(key(1)), slots.put_back(key(1))), (85, 25));
    slots.settle(reserve(40), 41);
    slots.settle(reserve(40), u64::MAX);
    assert_eq!(
        (slots.rest(key(1)), slots.put_back(key(1))),
        (5, 25),
        "never more than was taken"
    );
    let late = reserve(5);
    slots.open(key(1), 7, Time::from_nanos(200), 0);
    slots.settle(late, 0);
    assert_eq!(slots.rest(key(1)), 7, "it is another allowance");
}

//! Single steps of both ends, and the two of them over a network that loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::owner::{Around, Ledger, Terms};
use super::proxy::{Blocked, Holder};
use super::{Level, Report};
use crate::change::Revision;
use crate::quota::{AccountId, Gates, Label};
use crate::time::Time;

const EPOCH: u64 = 3;

fn account() -> AccountId {
    AccountId::of(Uuid::from_u128(1), b"alice")
}

/// One owner and some proxies, which all hear each other at once.
struct Stage {
    ledger: Ledger,
    holders: BTreeMap<Uuid, Holder>,
    numbers: u64,
    most: u32,
    millis: u64,
    /// Those whose messages get lost, both ways.
    cut: BTreeSet<Uuid>,
}

fn instance(n: u8) -> Uuid {
    Uuid::from_u128(n.into())
}

impl Stage {
    fn new(proxies: u8, most: u32) -> Stage {
        let mut ledger = Ledger::default();
        ledger.begin();
        let mut stage = Stage {
            ledger,
            holders: (1..=proxies).map(|n| (instance(n), holder())).collect(),
            numbers: 0,
            most,
            millis: 1_000,
            cut: BTreeSet::new(),
        };
        stage.adopt(EPOCH);
        stage
    }

    fn adopt(&mut self, epoch: u64) {
        let now = self.time();
        let shard = account().shard();
        self.holders
            .values_mut()
            .for_each(|holder| holder.adopt(shard, epoch, now));
    }

    fn time(&self) -> Time {
        Time::from_nanos(self.millis * 1_000_000)
    }

    /// Something on the owner's side, and all that follows from it.
    fn owner(&mut self, act: impl FnOnce(&mut Ledger, Terms, &mut Around<'_>)) {
        let mut told = Vec::new();
        let cut = self.cut.clone();
        let mut around = Around {
            now: Label::from_nanos(self.millis * 1_000_000),
            numbers: &mut self.numbers,
            is_heard: &|instance| !cut.contains(instance),
            told: &mut told,
        };
        let terms = Terms {
            most: self.most,
            revision: Revision(1),
            epoch: EPOCH,
        };
        act(&mut self.ledger, terms, &mut around);
        for (instance, level) in told.into_iter().filter(|(instance, _)| !cut.contains(instance)) {
            self.told(instance, &level);
        }
    }

    fn told(&mut self, instance: Uuid, level: &Level) {
        let now = self.time();
        self.holders
            .get_mut(&instance)
            .unwrap()
            .level(level, Some(Revision(1)), now);
        self.deliver(instance);
    }

    fn deliver(&mut self, instance: Uuid) {
        let reports = self.holders.get_mut(&instance).unwrap().take_reports();
        if self.cut.contains(&instance) {
            return;
        }
        let now = Label::from_nanos(self.millis * 1_000_000);
        for report in reports {
            self.owner(|ledger, terms, around| {
                ledger.report(instance, &report, 10, now);
                ledger.serve(report.account, terms, around);
            });
        }
    }

    fn tick(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.millis += 10;
            let now = self.time();
            for instance in self.holders.keys().copied().collect::<Vec<_>>() {
                self.holders.get_mut(&instance).unwrap().tick(now);
                self.deliver(instance);
            }
            self.owner(|ledger, terms, around| {
                for account in ledger.restless() {
                    ledger.serve(account, terms, around);
                }
            });
        }
    }

    /// As many as it gets, at once, of so many that it tries.
    fn enter(&mut self, proxy: u8, tries: u32) -> u32 {
        let mut entered = 0;
        for _ in 0..tries {
            let now = self.time();
            let holder = self.holders.get_mut(&instance(proxy)).unwrap();
            if holder.gates().enter(account().key) {
                entered += 1;
                continue;
            }
            let blocked = holder.block(account(), true, now);
            self.deliver(instance(proxy));
            let holder = self.holders.get_mut(&instance(proxy)).unwrap();
            let entered_now = holder.gates().enter(account().key);
            entered += u32::from(entered_now);
            if blocked == Blocked::Wait {
                holder.waited(account(), entered_now);
            }
        }
        entered
    }

    fn leave(&mut self, proxy: u8, count: u32) {
        for _ in 0..count {
            let now = self.time();
            let holder = self.holders.get_mut(&instance(proxy)).unwrap();
            if holder.gates().leave(account().key) {
                holder.left(account().key, now);
            }
            self.deliver(instance(proxy));
        }
    }

    fn in_flight(&self) -> u32 {
        let gates = self.holders.values().map(|holder| holder.gates().look(account().key));
        gates.map(|gate| gate.in_flight).sum()
    }
}

fn holder() -> Holder {
    Holder::new(std::sync::Arc::new(Gates::default()), 10)
}

#[test]
fn no_more_are_in_flight_than_may_be_and_as_many_as_may() {
    let mut stage = Stage::new(3, 7);
    for _ in 0..100 {
        for proxy in 1..=3 {
            stage.enter(proxy, 10);
        }
        stage.tick(20);
        assert!(stage.in_flight() <= 7);
    }
    assert_eq!(stage.in_flight(), 7);
}

#[test]
fn what_is_idle_at_one_is_called_back_for_another() {
    let mut stage = Stage::new(2, 10);
    assert_eq!(stage.enter(1, 10), 10);
    assert_eq!(stage.enter(2, 1), 0);
    stage.leave(1, 10);
    let mut entered = 0;
    for _ in 0..50 {
        stage.tick(20);
        entered += stage.enter(2, 10);
    }
    assert_eq!(entered, 10);
}

#[test]
fn whoever_has_nothing_in_flight_for_a_while_has_nothing_and_is_forgotten() {
    let mut stage = Stage::new(2, 5);
    assert_eq!(stage.enter(1, 3), 3);
    stage.leave(1, 3);
    stage.tick(8_000);
    assert!(stage.ledger.is_empty());
    assert!(stage.holders.values().all(Holder::is_idle));
    assert_eq!(stage.enter(2, 9), 5);
}

#[test]
fn one_that_is_cut_off_keeps_what_it_has_and_no_more() {
    let mut stage = Stage::new(2, 6);
    assert_eq!(stage.enter(1, 2), 2);
    let had = stage.holders[&instance(1)].gates().look(account().key).level;
    stage.cut.insert(instance(1));
    assert_eq!(stage.enter(1, 9), had - 2);
    for _ in 0..200 {
        stage.tick(20);
        stage.enter(2, 9);
        assert!(stage.in_flight() <= 6);
    }
    assert_eq!(stage.in_flight(), 6);
    // It has died, and a new life of it begun.
    stage.holders.insert(instance(1), holder());
    stage.adopt(EPOCH);
    stage.cut.clear();
    stage.ledger.began_anew(&instance(1));
    let mut entered = 0;
    for _ in 0..50 {
        stage.tick(20);
        entered += stage.enter(1, 9) + stage.enter(2, 9);
    }
    assert_eq!(entered, had, "its permits are there again");
}

#[test]
fn a_lower_limit_lets_what_is_in_flight_finish() {
    let mut stage = Stage::new(2, 8);
    assert_eq!((stage.enter(1, 5), stage.enter(2, 3)), (5, 3));
    stage.most = 2;
    stage.ledger.look_at_all();
    stage.tick(200);
    stage.leave(1, 5);
    assert_eq!(
        stage.enter(1, 4) + stage.enter(2, 4),
        0,
        "three are in flight, and two may be"
    );
    stage.leave(2, 2);
    for _ in 0..50 {
        stage.tick(20);
        stage.enter(1, 1);
        assert!(stage.in_flight() <= 2);
    }
    assert_eq!(stage.in_flight(), 2);
}

#[test]
fn where_there_is_not_one_for_each_all_have_their_turn() {
    let mut stage = Stage::new(3, 1);
    let mut entered = [0; 3];
    for _ in 0..400 {
        stage.tick(20);
        for proxy in 1..=3 {
            let got = stage.enter(proxy, 1);
            entered[usize::from(proxy) - 1] += got;
            assert!(stage.in_flight() <= 1);
            stage.leave(proxy, got);
        }
    }
    assert!(entered.iter().all(|times| *times > 20), "{entered:?}");
}

fn level(number: u64, level: u32) -> Level {
    Level {
        account: account(),
        epoch: EPOCH,
        revision: Revision(1),
        number,
        level,
        answer: true,
        is_all: false,
    }
}

/// One proxy that wants something, and what it has said.
fn wanting() -> (Holder, Time) {
    let now = Time::from_nanos(1_000_000_000);
    let mut holder = holder();
    holder.adopt(account().shard(), EPOCH, now);
    assert_eq!(holder.block(account(), true, now), Blocked::Wait);
    holder.take_reports();
    (holder, now)
}

fn said(holder: &mut Holder) -> Vec<(u64, u32, u32)> {
    let reports = holder.take_reports();
    reports.iter().map(|of| (of.number, of.ceiling, of.in_flight)).collect()
}

#[test]
fn levels_of_old_numbers_and_old_owners_are_not_taken_up() {
    let (mut holder, now) = wanting();
    holder.level(&level(4, 3), Some(Revision(1)), now);
    assert_eq!(said(&mut holder), [(4, 3, 0)]);
    holder.level(&level(2, 9), Some(Revision(1)), now);
    assert_eq!(
        said(&mut holder),
        [(4, 3, 0)],
        "it answers, and stays with the newer one"
    );
    let old = Level {
        epoch: EPOCH - 1,
        ..level(9, 9)
    };
    holder.level(&old, Some(Revision(1)), now);
    assert_eq!(said(&mut holder), []);
    assert_eq!(holder.gates().look(account().key).level, 3);
}

#[test]
fn by_another_form_of_the_limit_there_is_not_more_but_there_may_be_less() {
    let (mut holder, now) = wanting();
    holder.level(&level(1, 5), Some(Revision(1)), now);
    holder.level(&level(2, 8), Some(Revision(2)), now);
    holder.level(&level(3, 4), None, now);
    assert_eq!(said(&mut holder), [(1, 5, 0), (2, 5, 0), (3, 4, 0)]);
}

#[test]
fn what_ends_beyond_the_level_lowers_the_ceiling_and_is_told() {
    let (mut holder, now) = wanting();
    holder.level(&level(1, 3), Some(Revision(1)), now);
    let gates = holder.gates().clone();
    assert!((0..3).all(|_| gates.enter(account().key)) && !gates.enter(account().key));
    holder.level(&level(2, 1), Some(Revision(1)), now);
    said(&mut holder);
    let mut ceilings = Vec::new();
    for _ in 0..3 {
        if gates.leave(account().key) {
            holder.left(account().key, now);
        }
        ceilings.extend(said(&mut holder));
        let room = gates.look(account().key);
        assert_eq!(gates.enter(account().key), room.in_flight < room.level);
        let _ = room.in_flight < room.level && gates.leave(account().key);
    }
    assert_eq!(ceilings, [(2, 2, 2), (2, 1, 1)], "the last one is within its level");
}

#[test]
fn of_an_account_that_was_forgotten_nothing_old_is_taken_up() {
    let (mut holder, now) = wanting();
    holder.waited(account(), false);
    holder.level(&level(7, 2), Some(Revision(1)), now);
    let later = |seconds| now + Duration::from_secs(seconds);
    (1..8).for_each(|seconds| holder.tick(later(seconds)));
    holder.level(&level(8, 0), Some(Revision(1)), later(8));
    assert!(holder.is_idle());
    said(&mut holder);
    assert_eq!(holder.block(account(), true, later(9)), Blocked::Wait);
    holder.level(&level(7, 2), Some(Revision(1)), later(9));
    assert_eq!(holder.gates().look(account().key).level, 0);
    assert!(said(&mut holder).iter().all(|(number, ..)| *number == 8));
}

/// What one proxy says of it.
fn report(number: u64, ceiling: u32, wanted: u32) -> Report {
    Report {
        account: account(),
        epoch: EPOCH,
        number,
        ceiling,
        in_flight: ceiling.min(wanted),
        wanted,
        is_idle: false,
    }
}

/// What an owner tells whom when it hears that: numbers and levels.
fn told(ledger: &mut Ledger, numbers: &mut u64, most: u32, from: u8, report: Report) -> Vec<(u8, u64, u32)> {
    let (now, mut told) = (Label::from_nanos(9_000_000_000), Vec::new());
    let mut around = Around {
        now,
        numbers,
        is_heard: &|_| true,
        told: &mut told,
    };
    ledger.report(instance(from), &report, 10, now);
    let terms = Terms {
        most,
        revision: Revision(1),
        epoch: EPOCH,
    };
    ledger.serve(account(), terms, &mut around);
    let levels = told.iter().filter(|(_, of)| !of.is_all);
    let to = |of: &Uuid| of.as_u128() as u8;
    levels.map(|(of, level)| (to(of), level.number, level.level)).collect()
}

#[test]
fn a_level_that_may_be_on_its_way_counts_until_a_newer_one_is_reported() {
    let (mut ledger, mut numbers) = (Ledger::default(), 0);
    ledger.begin();
    assert_eq!(told(&mut ledger, &mut numbers, 4, 1, report(0, 0, 4)), [(1, 1, 4)]);
    // It wants none of it any more, but has not read that.
    assert_eq!(told(&mut ledger, &mut numbers, 4, 1, report(0, 0, 0)), []);
    assert_eq!(
        told(&mut ledger, &mut numbers, 4, 2, report(0, 0, 4)),
        [(1, 2, 0)],
        "it is called back"
    );
    assert_eq!(told(&mut ledger, &mut numbers, 4, 1, report(1, 4, 0)), []);
    assert_eq!(told(&mut ledger, &mut numbers, 4, 1, report(2, 0, 0)), [(2, 3, 4)]);
}

#[test]
fn a_new_owner_gives_nothing_before_all_have_said_what_they_hold() {
    let (mut ledger, mut numbers) = (Ledger::default(), 0);
    let now = Label::from_nanos(8_000_000_000);
    assert_eq!(
        told(&mut ledger, &mut numbers, 9, 1, report(0, 2, 9)),
        [],
        "who there is is not known"
    );
    ledger.roster([instance(1), instance(2)].into());
    ledger.counted(instance(1), &[report(0, 2, 9)], now);
    assert_eq!(told(&mut ledger, &mut numbers, 9, 1, report(0, 2, 9)), []);
    // The second answers; what it said besides is not the answer.
    ledger.report(instance(2), &report(0, 1, 1), 10, now);
    assert!(!ledger.is_exact());
    ledger.counted(instance(2), &[report(0, 6, 6)], now);
    let fair = [(1, 1, 3), (2, 2, 4)];
    assert_eq!(
        told(&mut ledger, &mut numbers, 9, 1, report(0, 2, 9)),
        fair,
        "and one has too much"
    );
    // And it answers but once.
    ledger.counted(instance(2), &[report(0, 1, 1)], now);
    let more = told(&mut ledger, &mut numbers, 9, 1, report(1, 3, 9));
    assert_eq!(more, []);
    // What it held is free when it has left.
    ledger.ended(&instance(2));
    let more = told(&mut ledger, &mut numbers, 9, 1, report(1, 3, 9));
    assert_eq!(
        more.iter().map(|(to, _, level)| (*to, *level)).collect::<Vec<_>>(),
        [(1, 9)]
    );
}

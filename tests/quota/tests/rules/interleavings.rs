//! Two decisions and a refill in every order of their steps: what is admitted came out of an allowance that was open when
//! the clock was read, and no allowance gives more than it had.

use shared::quota::slots::{self, Attempt, Need};
use shared::quota::{KeyHash, Slots};
use shared::time::Time;
use uuid::Uuid;

const DECISIONS: usize = 2;
/// Look, read the clock, take, take, finish.
const STEPS: usize = 5;
/// Close and open again the one, then close the other.
const REFILLS: usize = 3;
const TOKENS: u32 = 2;

struct Allowance {
    opened: u64,
    /// Admitted out of it.
    spent: u32,
    /// What was left at its end.
    rest: Option<u32>,
}

struct Decision<'a> {
    attempt: Option<Attempt<'a>>,
    step: usize,
    reading: u64,
    refused: bool,
    /// Which allowance of which account was taken from.
    taken: Vec<(usize, usize)>,
}

struct World<'a> {
    slots: &'a Slots,
    keys: [KeyHash; 2],
    allowances: [Vec<Allowance>; 2],
    refills: usize,
    now: u64,
}

impl World<'_> {
    fn open(&mut self, account: usize) {
        let expiry = Time::from_nanos(1_000);
        assert_eq!(self.slots.open(self.keys[account], TOKENS, expiry, 0), None);
        self.allowances[account].push(Allowance {
            opened: self.now,
            spent: 0,
            rest: None,
        });
    }

    fn close(&mut self, account: usize) {
        let rest = self.slots.close(self.keys[account]);
        self.allowances[account].last_mut().unwrap().rest = Some(rest);
    }

    fn refill(&mut self) {
        let account = self.refills / 2;
        match self.refills % 2 {
            0 => self.close(account),
            _ => self.open(account),
        }
        self.refills += 1;
    }
}

impl<'a> Decision<'a> {
    fn go_on(&mut self, world: &mut World<'_>, slots: &'a Slots, needs: &'a [Need], order: &[usize]) {
        let step = self.step;
        self.step += 1;
        if step == 0 {
            self.attempt = Some(Attempt::look(slots, needs));
            return;
        }
        let attempt = self.attempt.as_mut().unwrap();
        match step {
            1 => {
                self.reading = world.now;
                self.refused = attempt.refusal(Time::from_nanos(world.now)).is_some();
            }
            _ if self.refused => {}
            2 | 3 if attempt.take_next() => {
                let account = order[self.taken.len()];
                self.taken.push((account, world.allowances[account].len() - 1));
            }
            2 | 3 => {}
            _ if attempt.is_complete() => {
                for (account, allowance) in self.taken.drain(..) {
                    let of = &mut world.allowances[account][allowance];
                    of.spent += 1;
                    assert!(of.opened <= self.reading, "spent before it was granted");
                }
            }
            _ => attempt.put_back(),
        }
    }
}

/// One order: `schedule` names the decision, or the refill, whose next step it is.
fn play(schedule: &[usize]) {
    let slots = Slots::new(8);
    let keys = [1, 2].map(|key: u8| KeyHash::of(Uuid::nil(), &[key]));
    let orders = [[0, 1], [1, 0]];
    let needs = orders.map(|order| {
        order.map(|account| Need {
            key: keys[account],
            cost: 1,
        })
    });
    let mut world = World {
        slots: &slots,
        keys,
        allowances: [Vec::new(), Vec::new()],
        refills: 0,
        now: 1,
    };
    (0..2).for_each(|account| world.open(account));
    let mut decisions: Vec<Decision<'_>> = (0..DECISIONS)
        .map(|_| Decision {
            attempt: None,
            step: 0,
            reading: 0,
            refused: false,
            taken: Vec::new(),
        })
        .collect();
    for actor in schedule {
        world.now += 1;
        match decisions.get_mut(*actor) {
            Some(decision) => decision.go_on(&mut world, &slots, &needs[*actor], &orders[*actor]),
            None => world.refill(),
        }
    }
    (0..2).for_each(|account| world.close(account));
    for allowance in world.allowances.iter().flatten() {
        let gone = allowance.spent + allowance.rest.unwrap();
        assert!(gone <= TOKENS, "{gone} tokens came out of an allowance of {TOKENS}");
    }
}

/// All orders of so many steps of each.
fn every(left: &mut [usize], schedule: &mut Vec<usize>, played: &mut usize) {
    let mut is_over = true;
    for actor in 0..left.len() {
        if left[actor] > 0 {
            is_over = false;
            left[actor] -= 1;
            schedule.push(actor);
            every(left, schedule, played);
            schedule.pop();
            left[actor] += 1;
        }
    }
    if is_over {
        let broken = std::panic::catch_unwind(|| play(schedule)).is_err();
        assert!(!broken, "VULCAN_SIM_ORDER={schedule:?} breaks a rule of the slots");
        *played += 1;
    }
}

#[test]
fn the_rules_of_slots_hold_in_every_order() {
    let mut left = [STEPS, STEPS, REFILLS];
    let mut played = 0;
    every(&mut left, &mut Vec::new(), &mut played);
    assert_eq!(played, 72_072);
}

/// However many decisions there are between two moments, each goes by its own.
#[test]
fn the_rules_of_slots_hold_at_the_end_of_an_allowance() {
    let slots = Slots::new(8);
    let need = Need {
        key: KeyHash::of(Uuid::nil(), &[1]),
        cost: 1,
    };
    slots.open(need.key, TOKENS, Time::from_nanos(100), 0);
    let is_admitted = |now| {
        let decision = slots.decide(&[need], || Time::from_nanos(now));
        matches!(decision, slots::Decision::Admitted { .. })
    };
    assert!(is_admitted(99));
    let late = is_admitted(100);
    assert!(
        !late,
        "VULCAN_SIM_ORDER=a decision, the end of its allowance, a decision"
    );
}

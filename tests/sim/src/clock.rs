//! Every node has a clock of its own: it began elsewhere, and runs a little faster or slower than the true time.

use shared::time::Time;

use crate::dice::{Dice, SECOND};

#[derive(Clone, Copy)]
pub struct Clock {
    offset: u64,
    /// Parts per million.
    drift: i64,
}

pub const DRIFT_MAX: u64 = 200;

impl Clock {
    pub fn new(dice: &mut Dice) -> Clock {
        Clock {
            offset: dice.below(1_000_000 * SECOND),
            drift: dice.below(2 * DRIFT_MAX + 1) as i64 - DRIFT_MAX as i64,
        }
    }

    /// What it shows at a true time, in nanoseconds.
    pub fn read(&self, now: u64) -> Time {
        let drifted = i128::from(now) * i128::from(self.drift) / 1_000_000;
        Time::from_nanos(self.offset + (i128::from(now) + drifted) as u64)
    }
}

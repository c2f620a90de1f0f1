//! The clocks of one machine: both drift; the wall clock steps; a machine that sleeps stops them.

use shared::quota::Reading;
use shared::time::Time;

use crate::dice::{Dice, MILLI, SECOND};

#[derive(Clone, Debug)]
pub struct Clock {
    offset: u64,
    /// Parts per million.
    drift: i64,
    slept: u64,
    /// Until then it stands still, if that is to come.
    pub wakes_at: u64,
    /// By how much the wall clock is off, nanoseconds.
    pub wall_error: i64,
}

const DRIFT_MAX: u64 = 200;
/// 2020, so that label time is far from zero.
const EPOCH: u64 = 1_577_836_800 * SECOND;

impl Clock {
    pub fn new(dice: &mut Dice) -> Clock {
        Clock {
            offset: dice.below(1_000_000 * SECOND),
            drift: dice.below(2 * DRIFT_MAX + 1) as i64 - DRIFT_MAX as i64,
            slept: 0,
            wakes_at: 0,
            wall_error: dice.below(10 * MILLI) as i64 - 5 * MILLI as i64,
        }
    }

    /// The machine will wake with both clocks behind by that much.
    pub fn sleep(&mut self, now: u64, length: u64) {
        self.wakes_at = now + length;
        self.slept += length;
        self.wall_error -= length as i64;
    }

    pub fn mono(&self, now: u64) -> Time {
        let ran = i128::from(now) - i128::from(self.slept);
        let drifted = ran * i128::from(self.drift) / 1_000_000;
        Time::from_nanos((i128::from(self.offset) + 100 * i128::from(SECOND) + ran + drifted) as u64)
    }

    pub fn read(&self, now: u64) -> Reading {
        Reading {
            mono: self.mono(now),
            wall: (i128::from(EPOCH + now) + i128::from(self.wall_error)) as u64,
        }
    }
}

/// What label time should be.
pub fn label(now: u64) -> u64 {
    EPOCH + now
}

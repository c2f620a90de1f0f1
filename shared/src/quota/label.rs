//! Label time: what owners count windows by. It follows the wall clock, but never steps and never goes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Algorithm, DELTA, stretch};
use crate::time::Time;

/// Nanoseconds since the Unix epoch, by some owner's label time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Label(u64);

impl Label {
    pub const ZERO: Label = Label(0);
    pub const MAX: Label = Label(u64::MAX);

    pub const fn from_nanos(nanos: u64) -> Label {
        Label(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub fn after(self, duration: Duration) -> Label {
        Label(self.0.saturating_add(nanos(duration)))
    }

    pub fn before(self, duration: Duration) -> Label {
        Label(self.0.saturating_sub(nanos(duration)))
    }

    /// Zero when it is not after `earlier`.
    pub fn since(self, earlier: Label) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A moment as an owner counts it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub label: Label,
    /// What label time may have skipped, all in all. Less that, it is steady: no less real time went by than it did.
    pub skipped: Duration,
    /// What it was counted as when the claim of now was asked for. Whoever follows counts from there on, at the least: it
    /// may have to take more for skipped.
    pub claimed: Label,
    /// By then all is over, in label time, that anyone has been granted until now.
    pub over: Label,
}

impl Moment {
    /// What the store's charges of this algorithm are counted by. Fixed windows are those of the calendar; a sliding
    /// one needs time that never jumps.
    pub fn counted(&self, algorithm: Algorithm) -> Label {
        match algorithm {
            Algorithm::Fixed => self.label,
            Algorithm::Sliding => self.label.before(self.skipped),
        }
    }

    /// When label time will be at what is counted so.
    pub fn label_of(&self, algorithm: Algorithm, counted: Label) -> Label {
        match algorithm {
            Algorithm::Fixed => counted,
            Algorithm::Sliding => counted.after(self.skipped),
        }
    }
}

/// The clocks of a control plane at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// CLOCK_MONOTONIC_RAW.
    pub mono: Time,
    /// The wall clock, nanoseconds since the Unix epoch.
    pub wall: u64,
}

/// An undisciplined oscillator drifts out of [`DELTA`] within minutes; faster steering would be no bounded rate.
const STEER_PPM: u64 = 500;

/// Read from the wall clock once, when its incarnation begins; from then on it goes by the raw monotonic clock, steered.
#[derive(Debug)]
pub struct LabelClock {
    label: Label,
    mono: Time,
}

impl LabelClock {
    /// `floor`: what label time had reached already, as far as is known, and when.
    pub fn start(reading: Reading, (floor, at): (Label, Time)) -> LabelClock {
        LabelClock {
            label: Label(reading.wall).max(floor.after(stretch(reading.mono.since(at)))),
            mono: reading.mono,
        }
    }

    pub fn read(&mut self, reading: Reading) -> Label {
        let elapsed = nanos(reading.mono.since(self.mono));
        let free = self.label.0.saturating_add(elapsed);
        let slack = elapsed / 1_000_000 * STEER_PPM;
        self.label = Label(reading.wall.clamp(free - slack, free + slack));
        self.mono = self.mono.max(reading.mono);
        self.label
    }

    /// Whether the wall clock has fallen back: label time waits for it.
    pub fn is_ahead(&self, reading: Reading) -> bool {
        self.label.since(Label(reading.wall)) > DELTA
    }

    /// Whether the wall clock ran away forwards: only a new incarnation may follow it. One that fell back is waited for,
    /// since label time does not go back.
    pub fn is_left_behind(&self, reading: Reading) -> bool {
        Label(reading.wall).since(self.label) > DELTA
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(mono: u64, wall: u64) -> Reading {
        Reading {
            mono: Time::from_nanos(mono),
            wall,
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_label_time_by_its_bounded_rate_only() {
        const SECOND: u64 = 1_000_000_000;
        let mut clock = LabelClock::start(reading(0, 1_000 * SECOND), (Label::ZERO, Time::ZERO));
        let ahead = clock.read(reading(SECOND, 1_100 * SECOND));
        assert_eq!(ahead.as_nanos(), 1_001 * SECOND + 500_000);
        assert!(clock.is_left_behind(reading(SECOND, 1_100 * SECOND)));
        let back = clock.read(reading(2 * SECOND, 900 * SECOND));
        assert_eq!(back.as_nanos(), 1_002 * SECOND);
        assert!(!clock.is_left_behind(reading(2 * SECOND, 900 * SECOND)));
    }

    #[test]
    fn it_begins_no_earlier_than_what_is_known() {
        let mut clock = LabelClock::start(reading(5, 100), (Label(400), Time::from_nanos(3)));
        assert_eq!(clock.read(reading(5, 100)), Label(402));
    }
}

//! The clocks that leases and limits run on.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shared::time::Time;

/// Nanoseconds since the machine booted, time asleep included (CLOCK_BOOTTIME): a lease must not outlive a suspend.
pub fn boottime() -> Time {
    read(ClockId::Boottime)
}

/// Nanoseconds since the machine booted, by its oscillator alone (CLOCK_MONOTONIC_RAW): nobody steers its rate, and it
/// stands still while the machine sleeps.
pub fn raw() -> Time {
    read(ClockId::MonotonicRaw)
}

/// How long the machine has slept since it booted, a little less or more.
pub fn asleep() -> Duration {
    // In this order, so that a pause between the two is no sleep.
    let boottime = boottime();
    boottime.since(read(ClockId::Monotonic))
}

fn read(clock: ClockId) -> Time {
    let now = clock_gettime(clock);
    // Neither part of a time since the boot is negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_forward() {
        let first = boottime();
        let second = boottime();
        assert!(first > Time::ZERO);
        assert!(second >= first);
        assert!(raw() > Time::ZERO && raw() <= raw());
    }
}

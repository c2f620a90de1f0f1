//! The clocks: the one that leases run on, and the one by which limits measure.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use shared::time::Time;

/// Nanoseconds since the machine booted, time asleep included (CLOCK_BOOTTIME): a lease must not outlive a suspend.
pub fn boottime() -> Time {
    time(ClockId::Boottime)
}

/// Nanoseconds since the machine booted, by its oscillator alone (CLOCK_MONOTONIC_RAW): nobody slews it. It stands while
/// the machine sleeps.
pub fn monotonic_raw() -> Time {
    time(ClockId::MonotonicRaw)
}

/// How long the machine has slept since it booted, a little less perhaps.
pub fn asleep() -> Duration {
    // In this order: a pause between the two is no sleep.
    let boottime = boottime();
    boottime.since(time(ClockId::Monotonic))
}

fn time(clock: ClockId) -> Time {
    let now = clock_gettime(clock);
    // Neither part of a boot time is negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_run_forward() {
        for read in [boottime, monotonic_raw] {
            let first = read();
            let second = read();
            assert!(first > Time::ZERO);
            assert!(second >= first);
        }
    }
}

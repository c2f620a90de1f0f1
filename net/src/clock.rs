//! The clock that leases run on.

use rustix::time::{ClockId, clock_gettime};
use shared::time::Time;

/// Nanoseconds since the machine booted, time asleep included (CLOCK_BOOTTIME): a lease must not outlive a suspend.
pub fn boottime() -> Time {
    let now = clock_gettime(ClockId::Boottime);
    // Neither part of a boot time is negative.
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
    }
}

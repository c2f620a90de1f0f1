//! What this proxy itself has seen of an upstream: a failed connection marks it down at once, for a pause that grows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Up until a failure; after it down until the pause is over, then on probation: it is used again, and the next failure
/// makes the pause twice as long. A success forgets all failures.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures in a row, each beyond the pause of the one before it.
    failures: AtomicU32,
    /// In nanoseconds of `since_start`.
    down_until: AtomicU64,
}

impl Health {
    /// Whether no pause runs. Reads the clock only after a failure: nearly every request meets none.
    pub fn is_up(&self) -> bool {
        self.pause(Instant::now).is_none()
    }

    /// What remains of the pause.
    pub fn pause(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let left = self
            .down_until
            .load(Ordering::Relaxed)
            .saturating_sub(since_start(now()));
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// The connection could not be made, or was reset. A hundred requests that fail together are one failure.
    pub fn failed(&self, now: Instant) {
        let now = since_start(now);
        if self.failures.load(Ordering::Relaxed) > 0 && now < self.down_until.load(Ordering::Relaxed) {
            return;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let pause = PAUSE_FIRST.saturating_mul(1 << before.min(16)).min(PAUSE_MAX);
        self.down_until
            .store(now.saturating_add(nanos(pause)), Ordering::Relaxed);
    }

    pub fn succeeded(&self) {
        // Written only when there is something to forget: the line is shared by all workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

/// Nanoseconds since the first call; one origin for all endpoints. An instant from before it is 0.
fn since_start(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    nanos(now.saturating_duration_since(*start))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds_and_a_success_forgets_them() {
        let health = Health::default();
        let mut now = Instant::now();
        assert_eq!(health.pause(|| now), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            health.failed(now);
            let pause = health.pause(|| now).unwrap();
            pauses.push(pause.as_millis());
            now += pause;
            assert_eq!(health.pause(|| now), None, "on probation once the pause is over");
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        health.failed(now);
        health.succeeded();
        assert_eq!(health.pause(|| now), None);
        health.failed(now);
        assert_eq!(health.pause(|| now).unwrap(), PAUSE_FIRST);
    }

    #[test]
    fn failures_within_a_pause_are_one() {
        let health = Health::default();
        let now = Instant::now();
        (0..64).for_each(|_| health.failed(now));
        assert_eq!(health.pause(|| now).unwrap(), PAUSE_FIRST);
    }
}

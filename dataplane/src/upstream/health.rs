//! What this proxy itself has seen of an upstream: a failed connection marks it down at once, for a pause that grows;
//! answers that are errors or none have it ejected, if the service can spare it (`Care`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A connection or an answer that takes longer is not waited for by the others.
const TRIAL: Duration = Duration::from_secs(1);

pub const SHARE_WHOLE: u64 = 1_000;

/// How an upstream stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It cannot be connected to, as far as is known, or its health checks fail.
    Down,
    Ejected,
    /// It came live, and has not passed its health check yet.
    Warming,
    Up,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Down => "down",
            Standing::Ejected => "ejected",
            Standing::Warming => "warming",
            Standing::Up => "up",
        }
    }
}

/// What health checks say; `Passed` also where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Passed = 0,
    Failed,
    Warming,
}

/// Up until a failure; after it down until the pause is over, then on probation: it is used again, and the next failure
/// makes the pause twice as long. A success forgets all failures.
///
/// Every field is for itself: two that are read together may be of two moments, which costs one request its best choice.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures in a row, each beyond the pause of the one before it.
    failures: AtomicU32,
    /// In nanoseconds of `since_start`, like the next; 0: never since.
    down_until: AtomicU64,
    ejected_until: AtomicU64,
    /// 5xx answers in a row.
    errors: AtomicU32,
    /// A `Checked`.
    checked: AtomicU8,
    /// It was ejected over what was no answer, and no sound one has begun since.
    is_suspect: AtomicBool,
    /// Until then one request tries whether it takes connections, or answers, again; the others stay away.
    trial_until: AtomicU64,
    /// Since when it is in use, as far as it has begun slowly; 0: for long.
    fresh_since: AtomicU64,
}

impl Health {
    /// Reads the clock only after a failure: nearly every request meets none.
    pub fn standing(&self, now: impl Fn() -> Instant) -> Standing {
        let checked = self.checked();
        match () {
            () if checked == Checked::Failed || self.pause(&now).is_some() => Standing::Down,
            () if self.is_ejected(&now) => Standing::Ejected,
            () if left(&self.trial_until, &now).is_some() => Standing::Down,
            () if checked == Checked::Warming => Standing::Warming,
            () => Standing::Up,
        }
    }

    pub fn checked(&self) -> Checked {
        match self.checked.load(Ordering::Relaxed) {
            failed if failed == Checked::Failed as u8 => Checked::Failed,
            warming if warming == Checked::Warming as u8 => Checked::Warming,
            _ => Checked::Passed,
        }
    }

    pub(super) fn set_checked(&self, checked: Checked) {
        self.checked.store(checked as u8, Ordering::Relaxed);
    }

    pub fn is_up(&self) -> bool {
        self.standing(Instant::now) == Standing::Up
    }

    /// What remains of the pause after a failed connection.
    pub fn pause(&self, now: impl Fn() -> Instant) -> Option<Duration> {
        left(&self.down_until, now)
    }

    /// Its time is not over, or it is over and one request tries it.
    pub fn is_ejected(&self, now: impl Fn() -> Instant) -> bool {
        let is_tried = || self.takes_connections() && self.is_suspect() && left(&self.trial_until, &now).is_some();
        self.is_set_aside(&now) || is_tried()
    }

    /// Its time is not over.
    pub(super) fn is_set_aside(&self, now: impl Fn() -> Instant) -> bool {
        left(&self.ejected_until, now).is_some()
    }

    fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    fn takes_connections(&self) -> bool {
        self.down_until.load(Ordering::Relaxed) == 0
    }

    /// After a pause, whether it is for the caller to try if connections are taken again, or answers given: one does at a
    /// time, so that a crowd does not wait for what may be dead. Whoever has nothing else may join the one that waits for
    /// an answer.
    pub fn may_try(&self, now: impl Fn() -> Instant) -> bool {
        if self.takes_connections() && !self.is_suspect() {
            return true;
        }
        let (now, until) = (now(), self.trial_until.load(Ordering::Relaxed));
        let (at, mine) = (since_start(now), since_start(now + TRIAL));
        if until > at {
            return self.takes_connections();
        }
        let trial = &self.trial_until;
        trial
            .compare_exchange(until, mine, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// It takes connections. Whether it answers is another matter, so that the next pause is no shorter for it.
    pub fn connected(&self) {
        if !self.takes_connections() {
            self.down_until.store(0, Ordering::Relaxed);
            if !self.is_suspect() {
                self.trial_until.store(0, Ordering::Relaxed);
            }
        }
    }

    /// A sound answer has begun: whoever stayed away may come. That it will be whole is another matter, as above.
    pub fn answers(&self) {
        self.trust();
        self.connected();
    }

    fn trust(&self) {
        if self.is_suspect() {
            self.is_suspect.store(false, Ordering::Relaxed);
            if self.takes_connections() {
                self.trial_until.store(0, Ordering::Relaxed);
            }
        }
    }

    /// From now on it gets a part of what it is due, which grows.
    pub(super) fn begin_slowly(&self, now: Instant) {
        self.fresh_since.store(since_start(now).max(1), Ordering::Relaxed);
    }

    /// Of its weight, in thousandths, where an upstream that came live has it whole after `slow_start`: a tenth at first,
    /// then as much as of that time has passed.
    pub fn share(&self, slow_start: Duration, now: impl Fn() -> Instant) -> u64 {
        if slow_start.is_zero() {
            return SHARE_WHOLE;
        }
        let since = self.fresh_since.load(Ordering::Relaxed);
        if since == 0 {
            return SHARE_WHOLE;
        }
        let passed = u128::from(since_start(now()).saturating_sub(since));
        let share = passed * u128::from(SHARE_WHOLE) / slow_start.as_nanos();
        u64::try_from(share).map_or(SHARE_WHOLE, |share| share.clamp(SHARE_WHOLE / 10, SHARE_WHOLE))
    }

    /// The connection could not be made, or was reset. A hundred requests that fail together are one failure.
    pub fn failed(&self, now: Instant) {
        if self.pause(|| now).is_none() {
            let until = now + self.next_pause();
            self.down_until.store(since_start(until), Ordering::Relaxed);
            self.trial_until.store(0, Ordering::Relaxed);
        }
    }

    /// For how long one that has failed again is left alone: each time twice as long.
    pub(super) fn next_pause(&self) -> Duration {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        PAUSE_FIRST.saturating_mul(1 << before.min(16)).min(PAUSE_MAX)
    }

    /// Whether it has failed since the last success.
    pub fn has_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    /// An answer was whole.
    pub fn succeeded(&self) {
        // Written only when there is something to forget: the line is shared by all workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.answers();
    }

    /// An answer that is a 5xx, or none. Says how many have come in a row.
    pub fn answered(&self, is_error: bool) -> u32 {
        if is_error {
            return self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        }
        if self.errors.load(Ordering::Relaxed) != 0 {
            self.errors.store(0, Ordering::Relaxed);
        }
        0
    }

    /// Only `Care` knows whether the service can spare it.
    pub(super) fn eject(&self, until: Instant) {
        self.ejected_until.store(since_start(until), Ordering::Relaxed);
    }

    /// As `eject`, and after that time one request at a time until it answers.
    pub(super) fn suspend(&self, until: Instant) {
        self.eject(until);
        self.trial_until.store(0, Ordering::Relaxed);
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    pub(crate) fn reinstate(&self) {
        self.ejected_until.store(0, Ordering::Relaxed);
        self.trust();
    }

    pub(super) fn ejected_until(&self) -> u64 {
        self.ejected_until.load(Ordering::Relaxed)
    }
}

fn left(until: &AtomicU64, now: impl Fn() -> Instant) -> Option<Duration> {
    let until = until.load(Ordering::Relaxed);
    if until == 0 {
        return None;
    }
    let left = until.saturating_sub(since_start(now()));
    (left > 0).then(|| Duration::from_nanos(left))
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

    #[test]
    fn after_a_pause_one_tries_for_all() {
        let health = Health::default();
        let now = Instant::now();
        assert!(health.may_try(|| now) && health.may_try(|| now), "nothing has failed");
        health.failed(now);
        let now = now + PAUSE_FIRST;
        assert_eq!(health.standing(|| now), Standing::Up);
        assert!(health.may_try(|| now));
        assert!(!health.may_try(|| now));
        assert_eq!(health.standing(|| now), Standing::Down, "for the others");
        // It hangs, and another one tries.
        let now = now + TRIAL;
        assert!(health.may_try(|| now) && !health.may_try(|| now));
        health.failed(now);
        assert_eq!(health.pause(|| now).unwrap(), 2 * PAUSE_FIRST);
        let now = now + 2 * PAUSE_FIRST;
        assert!(health.may_try(|| now));
        health.connected();
        assert!(health.may_try(|| now) && health.may_try(|| now));
        health.failed(now);
        assert_eq!(
            health.pause(|| now).unwrap(),
            4 * PAUSE_FIRST,
            "it has answered nothing"
        );
    }

    #[test]
    fn after_no_answer_one_tries_for_all_until_it_answers() {
        let health = Health::default();
        let now = Instant::now();
        health.suspend(now + PAUSE_FIRST);
        assert_eq!(health.standing(|| now), Standing::Ejected);
        let now = now + PAUSE_FIRST;
        assert_eq!(health.standing(|| now), Standing::Up);
        assert!(health.may_try(|| now));
        assert_eq!(health.standing(|| now), Standing::Ejected, "for the others");
        assert!(health.may_try(|| now), "for whoever has nothing else");
        health.connected();
        assert_eq!(health.standing(|| now), Standing::Ejected, "a connection is no answer");
        health.answers();
        assert_eq!(health.standing(|| now), Standing::Up);

        // It takes no connections either: nobody is to wait for it.
        health.suspend(now);
        health.failed(now);
        let now = now + PAUSE_FIRST;
        assert!(health.may_try(|| now) && !health.may_try(|| now));
        assert_eq!(health.standing(|| now), Standing::Down);
        health.connected();
        assert_eq!(health.standing(|| now), Standing::Ejected);
        let now = now + TRIAL;
        assert_eq!(health.standing(|| now), Standing::Up, "it hangs, and another one tries");
    }

    #[test]
    fn a_share_grows_from_a_tenth() {
        let health = Health::default();
        let now = Instant::now();
        let slow = Duration::from_secs(10);
        assert_eq!(health.share(slow, || now), 1000);
        health.begin_slowly(now);
        let after = |seconds| health.share(slow, || now + Duration::from_secs(seconds));
        assert_eq!([0, 1, 2, 5, 10, 90].map(after), [100, 100, 200, 500, 1000, 1000]);
        assert_eq!(health.share(Duration::ZERO, || now), 1000);
    }
}

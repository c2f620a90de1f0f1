//! What this proxy itself has seen of an upstream: a failed connection marks it down at once, for a pause that grows;
//! answers that are errors or none have it ejected, if the service can spare it (`Care`).

#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Requests that try one upstream at a time; they have nothing else.
const TRIALS_MAX: u32 = 512;

pub const SHARE_WHOLE: u64 = 1_000;

/// How an upstream stands at one moment, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its health checks fail.
    Failed,
    /// It took no connection, or reset it, and is left alone.
    Paused,
    Ejected,
    /// It was set aside for a time that is over, and has not proven itself yet.
    Doubted(Doubt),
    /// It came live, and has not passed its health check yet.
    Warming,
    Up,
}

impl Standing {
    /// As it is shown: nobody is up before it has proven to be.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Failed | Standing::Paused => "down",
            Standing::Doubted(Doubt::Connects) => "down",
            Standing::Ejected | Standing::Doubted(_) => "ejected",
            Standing::Warming => "warming",
            Standing::Up => "up",
        }
    }
}

/// What an upstream that has failed is to prove: that it does this again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    Connects = 1,
    Answers,
    /// It ends what it answers.
    Completes,
}

/// What health checks say; `Passed` also where there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Passed = 0,
    Failed,
    Warming,
}

/// ```text
/// up ── failure ─▶ left alone for a pause ── it is over ─▶ in doubt ── it is probed ─▶ up
///                       ▲                                                   │
///                       └──────────── a failure: twice as long ─────────────┘
/// ```
///
/// Every field is for itself: two that are read together may be of two moments, which costs one request its best choice.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures in a row, each beyond the pause of the one before it.
    failures: AtomicU32,
    /// In nanoseconds of `since_start`, like the others; 0: it takes connections, as far as is known.
    down_until: AtomicU64,
    ejected_until: AtomicU64,
    /// 5xx answers in a row.
    errors: AtomicU32,
    /// A `Checked`.
    checked: AtomicU8,
    /// A `Doubt`; 0: none.
    doubt: AtomicU8,
    /// Requests that are trying it, in doubt as it is.
    trials: AtomicU32,
    is_probed: AtomicBool,
    /// Since when it is in use, as far as it has begun slowly; 0: for long.
    fresh_since: AtomicU64,
}

impl Health {
    /// Reads the clock only after a failure: nearly every request meets none.
    pub fn standing(&self, now: impl Fn() -> Instant) -> Standing {
        let checked = self.checked();
        if checked == Checked::Failed {
            return Standing::Failed;
        }
        if self.pause(&now).is_some() {
            return Standing::Paused;
        }
        if self.is_set_aside(&now) {
            return Standing::Ejected;
        }
        match self.doubt() {
            _ if checked == Checked::Warming => Standing::Warming,
            Some(doubt) => Standing::Doubted(doubt),
            None => Standing::Up,
        }
    }

    pub fn checked(&self) -> Checked {
        match self.checked.load(Ordering::Relaxed) {
            failed if failed == Checked::Failed as u8 => Checked::Failed,
            warming if warming == Checked::Warming as u8 => Checked::Warming,
            _ => Checked::Passed,
        }
    }

    pub(crate) fn set_checked(&self, checked: Checked) {
        self.checked.store(checked as u8, Ordering::Relaxed);
    }

    pub fn is_up(&self) -> bool {
        self.standing(Instant::now) == Standing::Up
    }

    /// What remains of the pause after a failed connection.
    pub fn pause(&self, now: impl Fn() -> Instant) -> Option<Duration> {
        left(&self.down_until, now)
    }

    /// Its time is not over, or it is over and nothing has shown that it answers.
    pub fn is_ejected(&self, now: impl Fn() -> Instant) -> bool {
        self.is_set_aside(&now) || self.doubt() > Some(Doubt::Connects)
    }

    /// Its time is not over.
    pub(super) fn is_set_aside(&self, now: impl Fn() -> Instant) -> bool {
        left(&self.ejected_until, now).is_some()
    }

    pub(super) fn doubt(&self) -> Option<Doubt> {
        match self.doubt.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Doubt::Connects),
            2 => Some(Doubt::Answers),
            _ => Some(Doubt::Completes),
        }
    }

    /// As bad as that, or as it was if that was worse.
    fn put_in_doubt(&self, doubt: Doubt) {
        self.doubt.fetch_max(doubt as u8, Ordering::Relaxed);
    }

    /// It has proven so much. What it is to prove beyond that stays in doubt.
    fn trust(&self, proven: Doubt) {
        let doubt = self.doubt.load(Ordering::Relaxed);
        if doubt != 0 && doubt <= proven as u8 {
            let _ = self
                .doubt
                .compare_exchange(doubt, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the caller's request may try it beside as many others as may.
    pub(super) fn begin_trial(&self) -> bool {
        let one_more = |trials| (trials < TRIALS_MAX).then_some(trials + 1);
        self.trials
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    pub(super) fn end_trial(&self) {
        self.trials.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nobody else probes it.
    pub(crate) fn begin_probe(&self) -> bool {
        // Nearly always it is so, and looking costs less than writing.
        !self.is_probed.load(Ordering::Relaxed) && !self.is_probed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_probe(&self) {
        self.is_probed.store(false, Ordering::Release);
    }

    /// It takes connections. Whether it answers is another matter, so that the next pause is no shorter for it.
    pub fn connected(&self) {
        if self.down_until.load(Ordering::Relaxed) != 0 {
            self.down_until.store(0, Ordering::Relaxed);
        }
        self.trust(Doubt::Connects);
    }

    /// A sound answer has begun. That it will be whole is another matter, as above.
    pub fn answers(&self) {
        self.connected();
        self.trust(Doubt::Answers);
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

    /// The connection could not be made. A hundred requests that fail together are one failure.
    pub fn failed(&self, now: Instant) {
        self.rest(Doubt::Connects, now);
    }

    /// A new connection ended before an answer: as `failed`, and that it takes the next one proves nothing.
    pub fn reset(&self, now: Instant) {
        self.rest(Doubt::Answers, now);
    }

    fn rest(&self, doubt: Doubt, now: Instant) {
        let pause = self.pause(|| now);
        let until = now + pause.unwrap_or_else(|| self.next_pause());
        self.put_in_doubt(doubt);
        if pause.is_none() {
            self.down_until.store(since_start(until), Ordering::Relaxed);
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

    /// It has answered a probe. Whether it answers requests is another matter, as above.
    pub(super) fn proven(&self) {
        self.connected();
        self.trust(Doubt::Completes);
    }

    /// An answer was whole.
    pub fn succeeded(&self) {
        // Written only when there is something to forget: the line is shared by all workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.proven();
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

    /// As `eject`, and after that time in doubt until it has proven itself.
    pub(super) fn suspend(&self, doubt: Doubt, until: Instant) {
        self.eject(until);
        self.put_in_doubt(doubt);
    }

    /// The service cannot spare it, whatever its answers are like.
    pub(crate) fn reinstate(&self) {
        self.ejected_until.store(0, Ordering::Relaxed);
        if self.down_until.load(Ordering::Relaxed) == 0 {
            self.trust(Doubt::Completes);
        }
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

//! How many attempts beyond the first a service's requests may make on this proxy: one to five requests. A service that
//! fails as a whole is asked little more often than its clients ask, whatever its `retries.attempts` allow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::inflight;

const WINDOW: Duration = Duration::from_secs(10);
const REQUESTS_PER_RETRY: u64 = 5;
/// Retries in a window that no requests have to earn: a quiet service could afford none otherwise.
const FLOOR: u64 = 10;

/// Workers count requests each in a cell of their own; the cells are summed, and the clock is read, only when something
/// has failed.
pub struct Budget {
    workers: usize,
    requests: OnceLock<Box<[Requests]>>,
    window: Mutex<Option<Window>>,
}

/// Two lines of 64 bytes, as in `inflight`.
#[derive(Default)]
#[repr(align(128))]
struct Requests(AtomicU64);

/// The window that is running, and what is known of the one before it. Counts of the earlier one weigh by the part of it
/// that lies within the last `WINDOW`.
struct Window {
    began: Instant,
    /// All that had been counted when it began.
    requests_at_begin: u64,
    retries: u64,
    requests_before: u64,
    retries_before: u64,
}

impl Budget {
    pub(super) fn new(workers: usize) -> Budget {
        Budget {
            workers,
            requests: OnceLock::new(),
            window: Mutex::new(None),
        }
    }

    /// A request begins.
    pub fn earn(&self) {
        let cells = self
            .requests
            .get_or_init(|| (0..=self.workers).map(|_| Requests::default()).collect());
        cells[inflight::here(self.workers)].0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another attempt is within the budget; it is taken from it if so.
    pub fn spend(&self, now: Instant) -> bool {
        let requests = self.requests();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert_with(|| Window::first(now));
        window.roll(now, requests);
        window.spend(now, requests)
    }

    fn requests(&self) -> u64 {
        let cells = self.requests.get().into_iter().flatten();
        cells.map(|cell| cell.0.load(Ordering::Relaxed)).sum()
    }
}

impl Window {
    /// Whatever was counted before the first failure counts as if it were of now.
    fn first(now: Instant) -> Window {
        Window {
            began: now,
            requests_at_begin: 0,
            retries: 0,
            requests_before: 0,
            retries_before: 0,
        }
    }

    fn roll(&mut self, now: Instant, requests: u64) {
        let age = now.saturating_duration_since(self.began);
        if age < WINDOW {
            return;
        }
        // Nobody has looked since it ended: what was counted meanwhile is taken to have come evenly.
        let counted = requests.saturating_sub(self.requests_at_begin);
        *self = Window {
            began: now,
            requests_at_begin: requests,
            retries: 0,
            requests_before: part(counted, WINDOW, age),
            retries_before: if age < 2 * WINDOW { self.retries } else { 0 },
        };
    }

    fn spend(&mut self, now: Instant, requests: u64) -> bool {
        let left = WINDOW.saturating_sub(now.saturating_duration_since(self.began));
        let requests = requests.saturating_sub(self.requests_at_begin) + part(self.requests_before, left, WINDOW);
        let retries = self.retries + part(self.retries_before, left, WINDOW);
        let is_within = retries < FLOOR + requests / REQUESTS_PER_RETRY;
        self.retries += u64::from(is_within);
        is_within
    }
}

fn part(count: u64, of: Duration, whole: Duration) -> u64 {
    let part = u128::from(count) * of.as_millis() / whole.as_millis().max(1);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &Budget, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| budget.spend(now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_the_floor() {
        let now = Instant::now();
        let budget = Budget::new(2);
        assert_eq!(spent(&budget, 100, now), 10, "a quiet service");
        (0..500).for_each(|_| budget.earn());
        assert_eq!(spent(&budget, 1000, now), 100);
    }

    #[test]
    fn every_request_earns_within_a_window_only() {
        let begin = Instant::now();
        let budget = Budget::new(1);
        let (mut requests, mut retries) = (0, 0);
        for second in 0..200 {
            (0..100).for_each(|_| budget.earn());
            requests += 100;
            retries += spent(&budget, 100, begin + Duration::from_secs(second));
        }
        assert!((requests / 6..=requests / 5 + 10).contains(&retries), "{retries}");

        // An hour of traffic is not saved up.
        (0..360_000).for_each(|_| budget.earn());
        let now = begin + Duration::from_secs(3_800);
        let burst = spent(&budget, 100_000, now);
        assert!((200..=220).contains(&burst), "{burst}");
    }
}

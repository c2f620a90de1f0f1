//! How often each limit was decided about, for the metrics. Each worker counts in cells of its own.
//!
//! A limit has a number, which is kept with the accounts of those who count for it: so its cell is found without a look at
//! anything else, and fetched while the tokens are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use shared::model::LimitId;

use crate::counts::WORKERS_MAX;
use crate::upstream::inflight::here;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    Admitted,
    Refused,
    /// Nobody could be asked, and the limit lets pass what is not counted.
    Uncounted,
    /// It passed: the limit only observes.
    WouldRefuse,
}

impl Decided {
    pub const ALL: [(&'static str, Decided); 4] = [
        ("admitted", Decided::Admitted),
        ("refused", Decided::Refused),
        ("uncounted", Decided::Uncounted),
        ("would_refuse", Decided::WouldRefuse),
    ];
}

/// Of a limit, on this proxy. Others have it again once that limit is gone.
pub(super) type Number = u32;

/// Limits beyond these are not counted.
const LIMITS_MAX: usize = CHUNKS * IN_CHUNK;
const CHUNKS: usize = 1_024;
const IN_CHUNK: usize = 1_024;

/// Two are in a line of the processor's caches.
#[derive(Default)]
#[repr(align(32))]
struct Cell([AtomicU64; Decided::ALL.len()]);

/// A worker's cells, made as far as there are numbers that it counts under.
struct Lane(Box<[OnceLock<Box<[Cell]>>]>);

impl Default for Lane {
    fn default() -> Lane {
        Lane((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }
}

impl Lane {
    fn cell(&self, number: Number) -> Option<&Cell> {
        let (chunk, at) = place(number);
        self.0.get(chunk)?.get()?.get(at)
    }

    fn made(&self, number: Number) -> Option<&Cell> {
        let (chunk, at) = place(number);
        let cells = || (0..IN_CHUNK).map(|_| Cell::default()).collect();
        self.0.get(chunk)?.get_or_init(cells).get(at)
    }
}

fn place(number: Number) -> (usize, usize) {
    let number = number as usize;
    (number / IN_CHUNK, number % IN_CHUNK)
}

/// Of one limit.
#[derive(Clone)]
pub struct Tally {
    lanes: Arc<[Lane]>,
    number: Number,
}

impl Tally {
    pub fn add(&self, decided: Decided, requests: u64) {
        add(&self.lanes, self.number, decided, requests);
    }

    pub fn sum(&self, decided: Decided) -> u64 {
        let cells = self.lanes.iter().filter_map(|lane| lane.cell(self.number));
        cells.map(|cell| cell.0[decided as usize].load(Ordering::Relaxed)).sum()
    }
}

fn add(lanes: &[Lane], number: Number, decided: Decided, requests: u64) {
    let everybody_else = lanes.len() - 1;
    let writer = here(everybody_else);
    let Some(cell) = lanes.get(writer).and_then(|lane| lane.made(number)) else {
        return;
    };
    let counter = &cell.0[decided as usize];
    if writer == everybody_else {
        counter.fetch_add(requests, Ordering::Relaxed);
    } else {
        // Nobody else adds to a worker's cells. A locked instruction would wait for every fetch under way. `keep` clears them a
        // change after the last limit of this number has gone; what it meets then is a metric.
        counter.store(counter.load(Ordering::Relaxed) + requests, Ordering::Relaxed);
    }
}

/// Of all limits that a request was counted for.
pub struct Tallies {
    /// One for each worker, and one for everybody else.
    lanes: Arc<[Lane]>,
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    by_limit: BTreeMap<LimitId, Number>,
    next: Number,
    free: Vec<Number>,
    /// Of limits that went with the last change: a worker may count under one for a moment yet.
    left: Vec<Number>,
}

impl Tallies {
    pub fn new(workers: usize) -> Tallies {
        Tallies {
            lanes: (0..=workers.min(WORKERS_MAX)).map(|_| Lane::default()).collect(),
            numbers: Mutex::default(),
        }
    }

    pub fn of(&self, limit: LimitId) -> Tally {
        self.tally(self.number(limit))
    }

    pub(super) fn number(&self, limit: LimitId) -> Number {
        let mut numbers = self.lock();
        if let Some(number) = numbers.by_limit.get(&limit) {
            return *number;
        }
        let number = match numbers.free.pop() {
            Some(number) => number,
            None => {
                let next = numbers.next;
                numbers.next = next.saturating_add(1).min(LIMITS_MAX as Number);
                next
            }
        };
        numbers.by_limit.insert(limit, number);
        number
    }

    pub(super) fn count(&self, number: Number, decided: Decided) {
        add(&self.lanes, number, decided, 1);
    }

    /// Has the processor fetch what `count` needs, and does not wait for it.
    pub(super) fn touch(&self, number: Number) {
        let lane = self.lanes.get(here(self.lanes.len() - 1));
        if let Some(cell) = lane.and_then(|lane| lane.cell(number)) {
            cell.0[0].load(Ordering::Relaxed);
        }
    }

    pub fn all(&self) -> BTreeMap<LimitId, Tally> {
        let all = self.lock();
        all.by_limit
            .iter()
            .map(|(id, number)| (*id, self.tally(*number)))
            .collect()
    }

    pub fn keep(&self, is_there: impl Fn(&LimitId) -> bool) {
        let numbers = &mut *self.lock();
        let left = std::mem::take(&mut numbers.left);
        for number in left {
            let cells = self.lanes.iter().filter_map(|lane| lane.cell(number));
            let counters = cells.flat_map(|cell| &cell.0);
            counters.for_each(|counter| counter.store(0, Ordering::Relaxed));
            numbers.free.push(number);
        }
        numbers.by_limit.retain(|id, number| {
            let stays = is_there(id);
            if !stays && (*number as usize) < LIMITS_MAX {
                numbers.left.push(*number);
            }
            stays
        });
    }

    fn tally(&self, number: Number) -> Tally {
        let lanes = self.lanes.clone();
        Tally { lanes, number }
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn limit(n: u128) -> LimitId {
        LimitId(Uuid::from_u128(n))
    }

    #[test]
    fn a_number_that_is_used_again_begins_with_nothing() {
        let tallies = Tallies::new(2);
        let first = tallies.number(limit(1));
        tallies.count(first, Decided::Refused);
        assert_eq!(tallies.of(limit(1)).sum(Decided::Refused), 1);
        tallies.keep(|id| *id != limit(1));
        assert_ne!(tallies.number(limit(2)), first, "somebody may count under it yet");
        tallies.count(first, Decided::Refused);
        tallies.keep(|_| true);
        assert_eq!(tallies.number(limit(3)), first);
        assert_eq!(tallies.of(limit(3)).sum(Decided::Refused), 0);
        assert_eq!(tallies.all().len(), 2);
    }

    #[test]
    fn limits_beyond_the_most_are_not_counted() {
        let tallies = Tallies::new(1);
        tallies.lock().next = LIMITS_MAX as Number - 1;
        let numbers = [1, 2, 3].map(|n| tallies.number(limit(n)));
        numbers
            .iter()
            .for_each(|number| tallies.count(*number, Decided::Admitted));
        let sums = [1, 2, 3].map(|n| tallies.of(limit(n)).sum(Decided::Admitted));
        assert_eq!(sums, [1, 0, 0]);
        tallies.keep(|_| false);
        tallies.keep(|_| true);
        assert_eq!(tallies.lock().free.len(), 1);
    }
}

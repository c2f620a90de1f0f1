//! How often each limit was decided about, for the metrics. Each worker counts in a cell of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::model::LimitId;

use crate::upstream::inflight::here;

/// Workers beyond that share a cell.
const CELLS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    Admitted,
    Refused,
    /// Nobody could be asked, and the limit says that then nothing is counted.
    Uncounted,
}

impl Decided {
    pub const ALL: [(&'static str, Decided); 3] = [
        ("admitted", Decided::Admitted),
        ("refused", Decided::Refused),
        ("uncounted", Decided::Uncounted),
    ];
}

#[derive(Default)]
#[repr(align(64))]
struct Cell([AtomicU64; 3]);

/// Of one limit. A clone is the same.
#[derive(Clone)]
pub struct Tally(Arc<[Cell]>);

impl Tally {
    pub fn count(&self, decided: Decided) {
        if let Some(cell) = self.here() {
            cell.0[decided as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the processor fetch what `count` needs, and does not wait for it.
    pub(super) fn touch(&self) {
        if let Some(cell) = self.here() {
            cell.0[0].load(Ordering::Relaxed);
        }
    }

    fn here(&self) -> Option<&Cell> {
        self.0.get(here(self.0.len().saturating_sub(1)))
    }

    pub fn sum(&self, decided: Decided) -> u64 {
        let of = |cell: &Cell| cell.0[decided as usize].load(Ordering::Relaxed);
        self.0.iter().map(of).sum()
    }
}

/// Of all limits that a request was counted for.
pub struct Tallies {
    workers: usize,
    by_limit: Mutex<BTreeMap<LimitId, Tally>>,
}

impl Tallies {
    pub fn new(workers: usize) -> Tallies {
        Tallies {
            workers: workers.min(CELLS - 1),
            by_limit: Mutex::default(),
        }
    }

    pub fn of(&self, limit: LimitId) -> Tally {
        let made = || Tally((0..=self.workers).map(|_| Cell::default()).collect());
        self.lock().entry(limit).or_insert_with(made).clone()
    }

    pub fn all(&self) -> BTreeMap<LimitId, Tally> {
        self.lock().clone()
    }

    pub fn keep(&self, is_there: impl Fn(&LimitId) -> bool) {
        self.lock().retain(|id, _| is_there(id));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LimitId, Tally>> {
        self.by_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

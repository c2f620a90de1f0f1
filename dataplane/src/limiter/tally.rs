//! How often each limit was decided about, for the metrics. Each worker counts in a cell of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::model::LimitId;

use crate::counts::Cells;

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

/// Of one limit. A clone is the same.
#[derive(Clone)]
pub struct Tally(Arc<Cells<{ Decided::ALL.len() }>>);

impl Tally {
    pub fn count(&self, decided: Decided) {
        self.add(decided, 1);
    }

    pub fn add(&self, decided: Decided, requests: u64) {
        self.0.add(decided as usize, requests);
    }

    /// Has the processor fetch what `count` needs, and does not wait for it.
    pub(super) fn touch(&self) {
        self.0.touch();
    }

    pub fn sum(&self, decided: Decided) -> u64 {
        self.0.sum(decided as usize)
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
            workers,
            by_limit: Mutex::default(),
        }
    }

    pub fn of(&self, limit: LimitId) -> Tally {
        let made = || Tally(Arc::new(Cells::new(self.workers)));
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

use std::sync::atomic::{AtomicU64, Ordering};

use crate::upstream::inflight::here;

/// Workers beyond that share one.
pub(crate) const WORKERS_MAX: usize = 63;

/// Two lines of 64 bytes, and more where they are needed: no two workers write to the same.
#[repr(align(128))]
struct Cell<const N: usize>([AtomicU64; N]);

/// `N` counters, for each worker and for everybody else.
pub struct Cells<const N: usize>(Box<[Cell<N>]>);

impl<const N: usize> Cells<N> {
    pub fn new(workers: usize) -> Cells<N> {
        let cell = |_| Cell(std::array::from_fn(|_| AtomicU64::new(0)));
        Cells((0..=workers.min(WORKERS_MAX)).map(cell).collect())
    }

    pub fn add(&self, counter: usize, many: u64) {
        if let Some(counter) = self.here().and_then(|cell| cell.0.get(counter)) {
            counter.fetch_add(many, Ordering::Relaxed);
        }
    }

    fn here(&self) -> Option<&Cell<N>> {
        self.0.get(here(self.0.len().saturating_sub(1)))
    }

    pub fn sum(&self, counter: usize) -> u64 {
        let cells = self.0.iter().filter_map(|cell| cell.0.get(counter));
        cells.map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

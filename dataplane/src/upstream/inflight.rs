//! What is in flight at an upstream, counted where it happens.
//!
//! Every worker has a cell of its own, so that counting moves no cache line between cores; whoever is not on a worker
//! shares one more, and health checks, which are no requests, another. The counts are summed only when somebody asks.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

thread_local! {
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Says that this thread is the worker with that index: it counts in its own cell from now on.
pub fn count_as_worker(index: usize) {
    WORKER.set(Some(index));
}

/// The calling thread's own among one cell for every worker and a last one. A thread that belongs to none of these workers
/// counts in the last.
pub(crate) fn here(workers: usize) -> usize {
    WORKER.get().map_or(workers, |index| index.min(workers))
}

/// Two lines of 64 bytes: the prefetcher of common processors takes lines in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Lane {
    in_flight: AtomicU64,
    /// The worker's place in a smooth round robin; here because it lives as long as the endpoint and needs no sharing.
    turn: AtomicI64,
}

/// One lane for every worker, one for everybody else, and the last for health checks. Made when first needed: most endpoints of a large table
/// never carry a request on this proxy.
pub(super) struct Lanes {
    workers: usize,
    lanes: OnceLock<Box<[Lane]>>,
}

impl Lanes {
    pub(super) fn new(workers: usize) -> Lanes {
        Lanes {
            workers,
            lanes: OnceLock::new(),
        }
    }

    /// Whoever retires must have made them before, so that nobody who enters first could be overlooked.
    pub(super) fn made(&self) -> &[Lane] {
        self.lanes
            .get_or_init(|| (0..=self.checks()).map(|_| Lane::default()).collect())
    }

    /// Where the calling thread counts.
    pub(super) fn here(&self) -> usize {
        here(self.workers)
    }

    /// Where health checks count.
    pub(super) fn checks(&self) -> usize {
        self.workers + 1
    }

    /// Sequentially consistent, as is every access that the hand-over rests on: see `Entered::confirm`.
    pub(super) fn enter(&self, lane: usize) {
        self.made()[lane].in_flight.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn leave(&self, lane: usize) {
        self.made()[lane].in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Not one instant for all lanes. Once nobody can enter any more every lane only falls, so that a sum of zero is final.
    pub(super) fn sum(&self) -> u64 {
        let lanes = self.lanes.get().into_iter().flatten();
        lanes.map(|lane| lane.in_flight.load(Ordering::SeqCst)).sum()
    }

    /// As `sum`, without health checks.
    pub(super) fn requests(&self) -> u64 {
        let lanes = self.lanes.get().into_iter().flatten().take(self.checks());
        lanes.map(|lane| lane.in_flight.load(Ordering::SeqCst)).sum()
    }

    /// Adds to this thread's place in the round robin and gives the new one. Threads that share a lane may lose an
    /// addition to one another, which costs evenness only.
    pub(super) fn turn(&self, add: i64) -> i64 {
        let turn = &self.made()[self.here()].turn;
        let now = turn.load(Ordering::Relaxed).saturating_add(add);
        turn.store(now, Ordering::Relaxed);
        now
    }
}

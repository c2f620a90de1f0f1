//! How a worker looks at the view of now, and until when it may act by it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use net::clock::boottime;
use shared::time::Time;

use super::{Holding, View};
use crate::counts::Counts;
use crate::limiter::Limiter;

/// By the clock that runs through a suspend, in nanoseconds.
#[derive(Debug)]
pub(super) struct LeaseEnd(AtomicU64);

impl Default for LeaseEnd {
    fn default() -> LeaseEnd {
        LeaseEnd(AtomicU64::new(NEVER))
    }
}

const NEVER: u64 = u64::MAX;

impl LeaseEnd {
    pub(super) fn set(&self, end: Option<Time>) {
        self.0.store(end.map_or(NEVER, Time::as_nanos), Ordering::Relaxed);
    }
}

/// A worker's own way to the view of now: a look costs one load, unless it has been swapped since the last.
pub struct Reader {
    cache: RefCell<Cache<Arc<ArcSwap<View>>, Arc<View>>>,
    lease: Arc<LeaseEnd>,
    holding: Arc<Holding>,
    counts: Arc<Counts>,
    limiter: Arc<Limiter>,
}

impl Reader {
    pub(super) fn new(
        current: Arc<ArcSwap<View>>,
        lease: Arc<LeaseEnd>,
        holding: Arc<Holding>,
        counts: Arc<Counts>,
        limiter: Arc<Limiter>,
    ) -> Reader {
        Reader {
            cache: RefCell::new(Cache::new(current)),
            lease,
            holding,
            counts,
            limiter,
        }
    }

    /// Hands over the view of now. `look` decides at once and keeps nothing; it must not call `with` itself.
    pub fn with<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        look(self.cache.borrow_mut().load())
    }

    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// Whether requests may still be sent, by the clock of now.
    pub fn may_send(&self) -> bool {
        match self.lease.0.load(Ordering::Relaxed) {
            NEVER => true,
            end => boottime().as_nanos() < end,
        }
    }
}

//! How far the proxy follows its control plane, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::change::Revision;
use shared::time::Time;

/// Written by the one that follows.
#[derive(Debug, Default)]
pub struct Progress {
    revision: AtomicU64,
    /// By the clock that runs through a suspend, in nanoseconds; 0: no lease runs.
    lease_end: AtomicU64,
}

impl Progress {
    pub fn set(&self, revision: Revision, lease_end: Option<Time>) {
        self.revision.store(revision.0, Ordering::Relaxed);
        self.lease_end
            .store(lease_end.map_or(0, Time::as_nanos), Ordering::Relaxed);
    }

    /// The last that was applied; zero before the first.
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Relaxed))
    }

    /// Zero when it is over, or none runs.
    pub fn lease_left(&self, now: Time) -> Duration {
        let end = self.lease_end.load(Ordering::Relaxed);
        Duration::from_nanos(end.saturating_sub(now.as_nanos()))
    }
}

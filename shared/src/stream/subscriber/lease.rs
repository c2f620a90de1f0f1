//! How long the control plane counts on this proxy, by this proxy's own clock.

use std::time::Duration;

use crate::time::Time;

/// Counted from when something was *sent* that the control plane is known to have received: it counts from later.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    proven: Option<Time>,
    /// Sticky: once over, only a proxy that has caught up is under a lease again.
    over: bool,
}

impl Lease {
    /// Without one until something is heard.
    pub(super) fn new(length: Duration) -> Lease {
        Lease {
            length,
            proven: None,
            over: true,
        }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// The control plane received what was sent then. From the future it could not have. Answers whether that is news.
    pub(super) fn prove(&mut self, sent: Time, now: Time) -> bool {
        let news = sent <= now && self.proven.is_none_or(|proven| sent > proven);
        if news {
            self.proven = Some(sent);
        }
        news
    }

    /// Of the one that runs; long ago if none does.
    pub(super) fn end(&self) -> Time {
        match (self.over, self.proven) {
            (false, Some(proven)) => proven + self.length,
            _ => Time::ZERO,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Says for how long nothing has been heard, when that has just become too long.
    pub(super) fn update(&mut self, caught_up: bool, now: Time) -> Option<Duration> {
        let silence = now.since(self.proven?);
        let runs = silence < self.length;
        let ended = !self.over && !runs;
        self.over = !runs || (self.over && !caught_up);
        ended.then_some(silence)
    }
}

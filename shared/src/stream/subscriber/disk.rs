//! A disk that fails must not keep a fleet waiting, and must not let a restart go back.

use std::time::Duration;

use super::{Alarm, Output, Subscriber};
use crate::time::Time;

/// How long after a failure a whole state is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// Holds what is acknowledged.
    #[default]
    Good,
    /// Holds nothing: a restart begins with nothing, and cannot serve what is old.
    Lost,
    /// Holds something older than what is in use and cannot be rid of it: a restart would serve that.
    Stuck,
}

impl Subscriber {
    /// Whether what is in use may be acknowledged.
    pub(super) fn may_acknowledge(&self) -> bool {
        self.disk != Disk::Stuck
    }

    pub(super) fn store_failed(&mut self, why: String, out: &mut Vec<Output>) {
        self.cycle.failure = Some(why);
        out.push(Output::Unlink);
    }

    pub(super) fn unlinked(&mut self, result: Result<(), String>, now: Time, out: &mut Vec<Output>) {
        let before = self.disk;
        let why = self.cycle.failure.take().unwrap_or_default();
        let alarm = match result {
            Ok(()) => {
                self.disk = Disk::Lost;
                Alarm::DiskLost(why)
            }
            Err(unlink) => {
                self.disk = Disk::Stuck;
                Alarm::DiskStuck(format!("{why}; {unlink}"))
            }
        };
        if self.disk != before {
            out.push(Output::Alarm(alarm));
        }
        self.cycle.retry_at = None;
        self.go_on(now, out);
    }

    pub(super) fn tick_disk(&mut self, now: Time) {
        if self.disk == Disk::Good || !self.known {
            return;
        }
        match self.cycle.retry_at {
            None => self.cycle.retry_at = Some(now + RETRY_AFTER),
            Some(at) if now >= at => {
                self.cycle.retry_at = None;
                self.cycle.recover = true;
            }
            Some(_) => {}
        }
    }
}

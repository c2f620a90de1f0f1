//! Permits before tokens: they come back by themselves when there are no tokens.

use smallvec::SmallVec;

use super::outlast::{Otherwise, Pending};
use super::{Inner, Outcome};
use crate::limiter::Permits;
use crate::limiter::due::Due;
use crate::limiter::permits::Entry;
use crate::limiter::tally::Decided;
use crate::pipeline::Counted;

impl Inner {
    /// Takes a permit of each limit that asks for one, or of none. Those that let pass what nobody counts are taken out.
    pub(super) fn enter(&self, due: &mut SmallVec<[Due<'_>; 4]>, before: &Counted) -> Result<Permits, Box<Outcome>> {
        let mut permits = before.permits.clone();
        let mut at = 0;
        while let Some(of) = due.get(at) {
            let Some(most) = of.concurrent() else {
                at += 1;
                continue;
            };
            match self.limiter.enter(of.account()) {
                Entry::In(permit) => {
                    permits = permits.with(permit);
                    at += 1;
                }
                Entry::Uncounted => {
                    self.tally(of.quota.id, Decided::Uncounted);
                    due.remove(at);
                }
                Entry::Refused { is_all } => {
                    if let Some(awaited) = of.awaited_in_flight(is_all) {
                        return Err(Outcome::Pending(Pending::Turn(awaited)).into());
                    }
                    self.tally(of.quota.id, Decided::Refused);
                    return Err(Outcome::Refused(of.too_many_in_flight(most, is_all)).into());
                }
                Entry::Wait(waiting) | Entry::Stale(waiting) => {
                    let otherwise = match of.awaited_in_flight(false) {
                        Some(awaited) => Otherwise::Turn(awaited),
                        None => Otherwise::Refused(of.account(), of.too_many_in_flight(most, false)),
                    };
                    return Err(Outcome::Pending(Pending::Owner { waiting, otherwise }).into());
                }
            }
        }
        Ok(permits)
    }

    /// Under a limit that only observes. False: it would have refused this one, which is noted.
    pub(super) fn enter_observed(&self, of: &Due<'_>, permits: &mut Permits) -> bool {
        if of.concurrent().is_none() {
            return true;
        }
        match self.limiter.enter(of.account()) {
            Entry::In(permit) => *permits = permits.with(permit),
            Entry::Uncounted => {}
            // Nobody waits for what does not matter.
            Entry::Refused { .. } | Entry::Wait(_) | Entry::Stale(_) => {
                self.tally(of.quota.id, Decided::WouldRefuse);
                return false;
            }
        }
        true
    }
}

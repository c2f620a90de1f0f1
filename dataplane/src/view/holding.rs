//! The holds that are in force here, each until the table has it no more or its time is over by this proxy's clock, and
//! the requests that wait for their end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shared::change::Revision;
use shared::model::ServiceName;
use shared::table::Held;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::upstream::care::Care;

/// Requests that may wait at a time, of all services.
pub const WAITING_MAX: usize = 10_000;

#[derive(Default)]
pub struct Holding {
    holds: Mutex<HashMap<ServiceName, Hold>>,
    waiting: AtomicUsize,
    ended: Notify,
    /// There may be an earlier one to end.
    begun: Notify,
}

struct Hold {
    held: Held,
    care: Arc<Care>,
    /// None: further away than the clock reaches.
    until: Option<Instant>,
    /// Its time is over. It is kept in mind, so that the same one does not begin again.
    is_over: bool,
}

/// How a service stands to holds in a new table.
pub(super) struct Standing {
    pub service: ServiceName,
    /// None: there is no such service.
    pub held: Option<(Held, Arc<Care>)>,
}

/// One of those that may wait, until it is dropped.
pub struct Waiting<'a>(&'a Holding);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Holding {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// None: as many wait as may.
    pub fn join(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting| (waiting < WAITING_MAX).then_some(waiting + 1);
        let joined = self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        joined.ok().map(|_| Waiting(self))
    }

    /// Comes true with the end of any hold after it was first polled or enabled.
    pub fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// Takes holds of a new table into force, and ends those that it does not have. `is_whole`: the table is no change of
    /// the one before it, so that a revision in both need not be the same hold.
    pub(super) fn follow(&self, standings: Vec<Standing>, is_whole: bool, now: Instant) {
        let mut holds = self.lock();
        let (mut ended, mut begun) = (false, false);
        for Standing { service, held } in standings {
            let before = holds.remove(&service);
            let after = held.map(|(held, care)| match before {
                Some(ref same) if !is_whole && same.held == held && Arc::ptr_eq(&same.care, &care) => Hold {
                    is_over: same.is_over,
                    until: same.until,
                    held,
                    care,
                },
                _ => {
                    begun = true;
                    Hold {
                        is_over: false,
                        until: now.checked_add(held.hold.max),
                        held,
                        care,
                    }
                }
            });
            if let Some(before) = before
                && after
                    .as_ref()
                    .is_none_or(|after| !Arc::ptr_eq(&after.care, &before.care))
            {
                before.care.set_held(false);
                ended = true;
            }
            if let Some(after) = after {
                after.care.set_held(!after.is_over);
                holds.insert(service, after);
            }
        }
        drop(holds);
        if ended {
            self.ended.notify_waiters();
        }
        if begun {
            self.begun.notify_one();
        }
    }

    /// Ends those whose time is over; answers whether there were any, and when the next is due.
    pub(super) fn end_overdue(&self, now: Instant) -> (bool, Option<Instant>) {
        let mut any = false;
        let mut next: Option<Instant> = None;
        for (service, hold) in self.lock().iter_mut().filter(|(_, hold)| !hold.is_over) {
            match hold.until {
                Some(until) if until <= now => {
                    tracing::warn!(%service, "held for as long as it may be: its requests go on");
                    hold.is_over = true;
                    hold.care.set_held(false);
                    any = true;
                }
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        if any {
            self.ended.notify_waiters();
        }
        (any, next)
    }

    /// Comes once there may be an earlier end than the last that `end_overdue` said.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// By service.
    pub(super) fn in_force(&self) -> Vec<(ServiceName, Revision)> {
        let holds = self.lock();
        let in_force = holds.iter().filter(|(_, hold)| !hold.is_over);
        let mut list: Vec<(ServiceName, Revision)> = in_force
            .map(|(service, hold)| (service.clone(), hold.held.revision))
            .collect();
        list.sort();
        list
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

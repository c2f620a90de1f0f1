//! Requests in flight under limits of how many there may be.

use std::fmt;
use std::sync::Arc;

use net::clock::monotonic_raw as raw;
use shared::quota::permits::proxy::Blocked;
use shared::quota::{AccountId, KeyHash};

use super::waiting::Queued;
use super::{Limiter, Waiting};

/// Looks at an account in one go: after each but the first there was a permit a moment ago.
const ATTEMPTS: usize = 4;

/// What a request holds while it is in flight: given back when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Permits(Option<Arc<Held>>);

struct Held {
    _permit: Permit,
    _others: Permits,
}

/// One of an account.
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    key: KeyHash,
}

/// What becomes of a request that is to be in flight.
pub(super) enum Entry {
    In(Permit),
    /// Look again when this has ended.
    Wait(Waiting),
    Refused {
        is_all: bool,
    },
    Uncounted,
    /// The limits of the table of now are not in force here yet, or not any more: look again when this has ended.
    Stale(Waiting),
}

impl Permits {
    pub(super) fn with(&self, permit: Permit) -> Permits {
        Permits(Some(Arc::new(Held {
            _permit: permit,
            _others: self.clone(),
        })))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let gates = self.limiter.gates.get();
        if gates.is_some_and(|gates| gates.leave(self.key)) {
            self.limiter.permit_left(self.key);
        }
    }
}

impl Limiter {
    /// One more of this account in flight, if that may be.
    pub(super) fn enter(self: &Arc<Self>, account: AccountId) -> Entry {
        let permit = || Permit {
            limiter: self.clone(),
            key: account.key,
        };
        let is_in = || self.gates.get().is_some_and(|gates| gates.enter(account.key));
        if is_in() {
            return Entry::In(permit());
        }
        let inner = &mut *self.lock();
        for _ in 0..ATTEMPTS {
            let Some(machine) = inner.machine.as_mut() else {
                return Entry::Stale(Waiting::for_any(self, &mut inner.waiters));
            };
            let blocked = machine.block_permit(account, raw());
            self.spoken.notify_one();
            match blocked {
                Blocked::Again if is_in() => return Entry::In(permit()),
                Blocked::Again => {}
                Blocked::Wait if inner.waiters.is_full() => {
                    machine.waited_for_permit(account, false);
                    return Entry::Refused { is_all: false };
                }
                Blocked::Wait => {
                    let queued = Queued::Permit(account);
                    return Entry::Wait(Waiting::of(self, &mut inner.waiters, account, queued));
                }
                Blocked::Refused { is_all } => return Entry::Refused { is_all },
                Blocked::Uncounted => return Entry::Uncounted,
                Blocked::Stale => return Entry::Stale(Waiting::for_any(self, &mut inner.waiters)),
            }
        }
        Entry::Refused { is_all: false }
    }

    /// Somebody waits for it, or it goes back to the owner.
    fn permit_left(&self, key: KeyHash) {
        let inner = &mut *self.lock();
        let Some(machine) = inner.machine.as_mut() else { return };
        let now = raw();
        machine.permit_left(key, now);
        let outputs = machine.take_outputs(now);
        inner.carry_out(self, outputs, now);
    }
}

/// Found out, not part of what is counted: equal are those that are the same.
impl PartialEq for Permits {
    fn eq(&self, other: &Permits) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(held), Some(of_other)) => Arc::ptr_eq(held, of_other),
            _ => false,
        }
    }
}

impl Eq for Permits {}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Permits" } else { "no Permits" })
    }
}

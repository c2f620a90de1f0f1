//! Requests that wait for their owner.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use shared::quota::{AccountId, KeyHash};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, timeout_at};

use super::Limiter;

/// That may wait at a time, under all limits.
const WAITERS_MAX: usize = 10_000;

#[derive(Default)]
pub(super) struct Waiters {
    /// None: those that wait for other limits to come into force.
    by_account: HashMap<Option<KeyHash>, (Arc<Notify>, usize)>,
    all: usize,
}

impl Waiters {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all
    }

    pub fn is_full(&self) -> bool {
        self.all >= WAITERS_MAX
    }

    fn join(&mut self, key: Option<KeyHash>) -> OwnedNotified {
        let (woken, waiting) = self.by_account.entry(key).or_default();
        *waiting += 1;
        self.all += 1;
        woken.clone().notified_owned()
    }

    pub fn leave(&mut self, key: Option<KeyHash>) {
        let Some((_, waiting)) = self.by_account.get_mut(&key) else {
            return;
        };
        *waiting -= 1;
        self.all -= 1;
        if *waiting == 0 {
            self.by_account.remove(&key);
        }
    }

    pub fn wake(&self, key: KeyHash) {
        if let Some((woken, _)) = self.by_account.get(&Some(key)) {
            woken.notify_waiters();
        }
    }

    pub fn wake_all(&self) {
        self.by_account.values().for_each(|(woken, _)| woken.notify_waiters());
    }
}

/// A request's place among those that wait, until it is dropped: also when the client has gone.
pub struct Waiting {
    limiter: Arc<Limiter>,
    key: Option<KeyHash>,
    queued: Option<Queued>,
    woken: Pin<Box<OwnedNotified>>,
    is_woken: bool,
}

/// What the owner is asked for, for one request.
#[derive(Clone, Copy)]
pub(super) enum Queued {
    Tokens(AccountId, u32),
    Permit(AccountId),
}

impl Waiting {
    pub(super) fn of(limiter: &Arc<Limiter>, waiters: &mut Waiters, account: AccountId, queued: Queued) -> Waiting {
        let mut waiting = Waiting::new(limiter, waiters, Some(account.key));
        waiting.queued = Some(queued);
        waiting
    }

    pub(super) fn for_any(limiter: &Arc<Limiter>, waiters: &mut Waiters) -> Waiting {
        Waiting::new(limiter, waiters, None)
    }

    /// Nobody is asked for anything.
    pub(super) fn for_news(limiter: &Arc<Limiter>, waiters: &mut Waiters, key: KeyHash) -> Waiting {
        Waiting::new(limiter, waiters, Some(key))
    }

    fn new(limiter: &Arc<Limiter>, waiters: &mut Waiters, key: Option<KeyHash>) -> Waiting {
        Waiting {
            limiter: limiter.clone(),
            key,
            queued: None,
            woken: Box::pin(waiters.join(key)),
            is_woken: false,
        }
    }

    /// Whether there was something new before `until`.
    pub async fn ended(mut self, until: Instant) -> bool {
        self.is_woken = timeout_at(until, self.woken.as_mut()).await.is_ok();
        self.is_woken
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.limiter.unblock(self.key, self.queued, self.is_woken);
    }
}

//! What authorizers have said, for all workers of a proxy.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::said::Said;
use shared::model::{AuthorizerName, Holder};
use tokio::sync::watch;

use super::answer::Understood;
use super::key::{Key, Keys};
use super::shard::{Flight, Outcome, Remembered, Shard};
use super::{Asked, Stamp};
use crate::limiter::Limiter;
use crate::pipeline::RequestMeta;
use crate::pipeline::dice::roll;

const SHARDS: usize = 64;
const CALLS_MAX: usize = 16 * 1024;

/// Of a whole proxy.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries: usize,
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 256 * 1024,
            bytes: 96 * 1024 * 1024,
        }
    }
}

/// Bounded in entries and in bytes. No password is in it.
pub struct Memory {
    keys: Keys,
    shards: Box<[Mutex<Shard>]>,
    limits: Limits,
    /// Of which authorizer it was told how it fails.
    told: Said<()>,
}

/// What is known when somebody asks.
pub enum Known {
    /// To be used as it is.
    Fresh(Arc<Remembered>),
    /// So, too, but it ends soon, and this caller is the one to see to it.
    Ending(Arc<Remembered>),
    /// To be used only if the authorizer fails.
    Stale(Arc<Remembered>),
    Nothing,
}

pub enum Joining {
    /// The caller makes the call, for all who join.
    Begun(Landing),
    /// Somebody has begun it.
    Waits(watch::Receiver<Option<Outcome>>),
    /// Too many calls are under way.
    Full,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(Limits::default())
    }
}

impl Memory {
    pub fn new(limits: Limits) -> Memory {
        Memory {
            keys: Keys::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            limits,
            told: Said::default(),
        }
    }

    /// Whether it is to be told that this authorizer fails in this way. Those that fail in turns are told apart, or each
    /// would be news after the other.
    pub fn is_news(&self, authorizer: &AuthorizerName, way: &str, now: Instant) -> bool {
        self.told.is_news(&format!("{authorizer} {way}"), (), now)
    }

    pub fn key(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Key {
        self.keys.of(asked, meta)
    }

    pub fn look(&self, key: Key, asked: &Asked, now: Instant, limiter: &Limiter) -> Known {
        let Some(entry) = self.shard(key).look(key, asked, now, limiter) else {
            return Known::Nothing;
        };
        if now >= entry.fresh_until {
            return match entry.is_spared(now) {
                true => Known::Fresh(entry),
                false => Known::Stale(entry),
            };
        }
        match now >= entry.refresh_at && !entry.is_refreshing.swap(true, Ordering::Relaxed) {
            true => Known::Ending(entry),
            false => Known::Fresh(entry),
        }
    }

    /// The call that is under way for `key`, if it was begun under `stamp`: what was asked before a revocation may not be
    /// waited for after it.
    pub fn join(self: &Arc<Self>, key: Key, stamp: Stamp) -> Joining {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.flights.get(&key).filter(|flight| flight.stamp == stamp) {
            return Joining::Waits(flight.outcome.subscribe());
        }
        if shard.calls >= CALLS_MAX / SHARDS {
            return Joining::Full;
        }
        shard.calls += 1;
        let flight = Arc::new(Flight {
            stamp,
            outcome: watch::Sender::new(None),
        });
        shard.flights.insert(key, flight.clone());
        Joining::Begun(Landing {
            memory: self.clone(),
            key,
            flight,
        })
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[key.spread(SHARDS)];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: Key, entry: Remembered) {
        let Limits { entries, bytes } = self.limits;
        self.shard(key)
            .put(key, Arc::new(entry), entries.div_ceil(SHARDS), bytes / SHARDS);
    }

    /// Answers, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.len(), shard.bytes())
        });
        sizes.fold((0, 0), |(entries, bytes), (more, heavier)| {
            (entries + more, bytes + heavier)
        })
    }
}

/// A call's end, however it ends: those who wait are told.
pub struct Landing {
    memory: Arc<Memory>,
    key: Key,
    flight: Arc<Flight>,
}

impl Landing {
    pub fn outcome(&self) -> watch::Receiver<Option<Outcome>> {
        self.flight.outcome.subscribe()
    }

    pub fn failed(self) {
        self.flight.outcome.send_replace(Some(Outcome::Failed));
    }

    pub fn said(self, understood: Understood, username: Arc<str>, stale: Duration, now: Instant) {
        let answer = Arc::new(understood.answer);
        let stamp = self.flight.stamp;
        let ttl = shortened(understood.ttl);
        if !ttl.is_zero() {
            let holder = Holder {
                username,
                token: understood.token,
            };
            let times = [now, now + ttl * 9 / 10, now + ttl, now + ttl + stale];
            let entry = Remembered::new(answer.clone(), holder, stamp.generation, times);
            self.memory.remember(self.key, entry);
        }
        self.flight.outcome.send_replace(Some(Outcome::Said {
            answer,
            stamp,
            is_private: understood.is_private,
        }));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // After what was said is remembered, so that nobody asks in between.
        let mut shard = self.memory.shard(self.key);
        shard.calls -= 1;
        let is_own = shard
            .flights
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if is_own {
            shard.flights.remove(&self.key);
        }
        drop(shard);
        self.flight.outcome.send_if_modified(|outcome| {
            let is_open = outcome.is_none();
            if is_open {
                *outcome = Some(Outcome::Lost);
            }
            is_open
        });
    }
}

/// By up to a tenth, so that what was asked together does not end together.
fn shortened(ttl: Duration) -> Duration {
    ttl - ttl / 1000 * u32::try_from(roll(101)).unwrap_or(0)
}

//! A part of what is remembered, under one lock: answers, and the calls that are under way.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use shared::change::Revision;
use shared::model::Holder;
use tokio::sync::watch;

use super::answer::{Answer, Reply};
use super::key::{ByKey, Key};
use super::{Asked, Stamp};
use crate::counts::AuthorizerCounts;
use crate::limiter::{Limiter, Needed};

/// Beside the texts that an answer holds: the answer, its entry, and their places in the map and in the clock.
const ENTRY_BYTES: usize = 736;

/// Whoever has a stale answer does not wait for a hanging authorizer more often than that.
const SPARED_FOR: Duration = Duration::from_secs(1);

/// One answer.
pub struct Remembered {
    pub answer: Arc<Answer>,
    pub holder: Holder,
    /// The last one under which it was seen to hold; only grows.
    generation: AtomicU64,
    pub refresh_at: Instant,
    pub fresh_until: Instant,
    /// While the authorizer fails.
    pub stale_until: Instant,
    /// Somebody has begun to refresh it.
    pub is_refreshing: AtomicBool,
    born: Instant,
    /// Milliseconds since then; until that time a failed authorizer is not asked again.
    spared_until: AtomicU64,
    counts: OnceLock<Arc<AuthorizerCounts>>,
}

/// A call that others may wait for.
pub struct Flight {
    pub stamp: Stamp,
    pub outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Clone)]
pub enum Outcome {
    Said {
        answer: Arc<Answer>,
        stamp: Stamp,
        is_private: bool,
    },
    Failed,
    /// The call ended with its worker.
    Lost,
}

struct Slot {
    entry: Arc<Remembered>,
    /// The entry's, at hand before the entry has been fetched.
    answer: Arc<Answer>,
    /// Of what limits needed for it the last time.
    needed: Needed,
    /// Since the clock's hand passed.
    is_used: bool,
}

impl Slot {
    fn new(entry: Arc<Remembered>) -> Slot {
        Slot {
            answer: entry.answer.clone(),
            entry,
            needed: Needed::default(),
            is_used: false,
        }
    }

    /// Has the processor fetch all that is needed to let a request through: the entry, its answer, and what limits look at for it,
    /// which lie in several places. Each by itself would be waited for.
    fn touch(&mut self, limiter: &Limiter) {
        limiter.touch(&self.needed);
        self.entry.generation.load(Ordering::Relaxed);
        if let Answer::Granted(grant) = &*self.answer {
            self.needed = grant.accounts.needed();
        }
    }
}

#[derive(Default)]
pub struct Shard {
    entries: HashMap<Key, Slot, ByKey>,
    /// Every key of `entries` once: the clock.
    order: VecDeque<Key>,
    bytes: usize,
    /// That may be joined: the last one of each key.
    pub flights: HashMap<Key, Arc<Flight>, ByKey>,
    /// All that are under way, those included that a revocation has put others in the place of.
    pub calls: usize,
}

impl Remembered {
    pub fn new(answer: Arc<Answer>, holder: Holder, generation: Revision, times: [Instant; 4]) -> Remembered {
        let [born, refresh_at, fresh_until, stale_until] = times;
        Remembered {
            answer,
            holder,
            generation: AtomicU64::new(generation.0),
            refresh_at,
            fresh_until,
            stale_until,
            is_refreshing: AtomicBool::new(false),
            born,
            spared_until: AtomicU64::new(0),
            counts: OnceLock::new(),
        }
    }

    /// Of the authorizer that said it.
    pub fn counts(&self, find: impl FnOnce() -> Arc<AuthorizerCounts>) -> &AuthorizerCounts {
        self.counts.get_or_init(find)
    }

    /// The authorizer has failed: for a moment what it said before is used without asking.
    pub fn spare(&self, now: Instant) {
        let until = self.since_birth(now + SPARED_FOR);
        self.spared_until.fetch_max(until, Ordering::Relaxed);
    }

    pub fn is_spared(&self, now: Instant) -> bool {
        self.since_birth(now) < self.spared_until.load(Ordering::Relaxed)
    }

    fn since_birth(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether nothing that was revoked since it was said is its own.
    fn holds(&self, asked: &Asked) -> bool {
        let now = asked.authority.generation();
        let seen = Revision(self.generation.load(Ordering::Acquire));
        // A view that is older than the answer's, on a worker that has not looked yet, decides nothing.
        if now <= seen {
            return true;
        }
        let holds = !asked.authority.is_revoked(seen, &self.holder);
        if holds {
            self.generation.fetch_max(now.0, Ordering::AcqRel);
        }
        holds
    }

    fn bytes(&self) -> usize {
        let held = match &*self.answer {
            Answer::Granted(grant) => {
                let token = grant.auth_token.as_ref().map_or(0, |token| token.len());
                let copied = grant
                    .copied
                    .iter()
                    .map(|(name, value)| name.as_str().len() + value.len() + 64);
                token + copied.sum::<usize>() + grant.limit_key.as_ref().map_or(0, |key| key.len()) + addresses(grant)
            }
            Answer::Refused(reply) => reply_bytes(reply),
        };
        ENTRY_BYTES + held + self.holder.username.len()
    }
}

fn addresses(grant: &super::Grant) -> usize {
    match &grant.target {
        Some(super::Target::Registered(addresses) | super::Target::Any(addresses)) => addresses.len() * 96,
        Some(super::Target::Service(_)) | None => 0,
    }
}

fn reply_bytes(reply: &Reply) -> usize {
    let headers = reply
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 64);
    headers.sum::<usize>() + reply.body.len()
}

impl Shard {
    /// What is remembered under `key`, if it was not revoked and is good for anything yet. `limiter` is to decide about it next.
    pub fn look(&mut self, key: Key, asked: &Asked, now: Instant, limiter: &Limiter) -> Option<Arc<Remembered>> {
        let slot = self.entries.get_mut(&key)?;
        slot.touch(limiter);
        if now >= slot.entry.stale_until || !slot.entry.holds(asked) {
            return None;
        }
        slot.is_used = true;
        Some(slot.entry.clone())
    }

    /// Makes room for it, if it has to: what was not used for longest goes first, nearly (the clock of Corbató).
    pub fn put(&mut self, key: Key, entry: Arc<Remembered>, entries_max: usize, bytes_max: usize) {
        let bytes = entry.bytes();
        if bytes > bytes_max {
            return;
        }
        match self.entries.insert(key, Slot::new(entry)) {
            Some(old) => self.bytes -= old.entry.bytes(),
            None => self.order.push_back(key),
        }
        self.bytes += bytes;
        while self.entries.len() > entries_max || self.bytes > bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.entries.get_mut(&oldest) {
                Some(slot) if slot.is_used || oldest == key => {
                    slot.is_used = false;
                    self.order.push_back(oldest);
                }
                _ => {
                    let gone = self.entries.remove(&oldest);
                    self.bytes -= gone.map_or(0, |gone| gone.entry.bytes());
                }
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

//! What a life of a proxy is told of those before it.
//!
//! An owner's testament is about all that its shard's owners granted until then. It is taken from the owner of the epoch that the
//! store had when this life was welcomed, or of a later one: whoever claims after that gives the lives before nothing that they
//! spend. An owner that does not know yet that it was followed may speak until then, and not know of what they took.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::Proxy;
use crate::quota::message::{Inherited, Shard, Testament};
use crate::time::Time;

#[derive(Debug, Default)]
pub struct Heir {
    kept: BTreeMap<Shard, Kept>,
    /// It is of no use any more.
    is_over: bool,
}

#[derive(Debug)]
struct Kept {
    epoch: u64,
    /// None: there was no room for it.
    testament: Option<Testament>,
    /// It was given after that was sent, and before it was received.
    asked: Time,
    received: Time,
}

impl Heir {
    /// A machine that slept cannot say how old anything is.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    pub fn end(&mut self) {
        self.forget();
        self.is_over = true;
    }

    fn accounts(&self) -> usize {
        let kept = self.kept.values().filter_map(|kept| kept.testament.as_ref());
        kept.map(|testament| testament.estates.len()).sum()
    }
}

impl Proxy {
    /// For how long what was spent before this life counts, at most.
    fn inherits_for(&self) -> Duration {
        self.settings.ledger_above * 2
    }

    fn may_inherit(&self) -> bool {
        self.welcomed && !self.heir.is_over
    }

    /// The shards of which there is something to be told yet.
    pub(super) fn heir_of(&mut self, shards: &[Shard], now: Time) -> Vec<Shard> {
        let Some(began) = self.began else { return Vec::new() };
        if self.knows != self.began || now.since(began) > self.inherits_for() {
            self.heir.end();
        }
        if !self.may_inherit() {
            return Vec::new();
        }
        let lacks = |shard: &&Shard| {
            let epoch = self.views[usize::from(**shard)].epoch;
            let kept = self.heir.kept.get(shard);
            kept.is_none_or(|kept| kept.epoch < epoch)
        };
        shards.iter().filter(lacks).copied().collect()
    }

    /// `asked`: when that was sent which the owner had read.
    pub(super) fn inherit(&mut self, owner: Uuid, testament: Testament, asked: Option<Time>, now: Time) {
        let Some(asked) = asked else { return };
        let Some(view) = self.views.get(usize::from(testament.shard)) else {
            return;
        };
        let is_current = view.epoch == testament.epoch && view.owner == Some(owner);
        if !is_current || !self.may_inherit() {
            return;
        }
        let shard = testament.shard;
        let former = self.heir.kept.remove(&shard);
        if former.as_ref().is_some_and(|kept| kept.is_later(&testament)) {
            self.heir.kept.extend(former.map(|kept| (shard, kept)));
            return;
        }
        let fits = self.heir.accounts() + testament.estates.len() <= self.settings.accounts_max;
        let kept = Kept {
            epoch: testament.epoch,
            testament: Some(testament).filter(|_| fits),
            asked,
            received: now,
        };
        self.heir.kept.insert(shard, kept);
        if let Some(link) = self.links.get_mut(&owner) {
            link.beat_due = true;
        }
    }

    /// For a census.
    pub(super) fn inherited(&self, shard: Shard, now: Time) -> Option<Inherited> {
        let kept = self.heir.kept.get(&shard).filter(|_| self.knows == self.began)?;
        let testament = kept.testament.clone()?;
        let age = (now.since(kept.received), now.since(kept.asked));
        Some(Inherited { testament, age })
    }
}

impl Kept {
    fn is_later(&self, than: &Testament) -> bool {
        let own = self.testament.as_ref();
        own.is_some_and(|own| (own.epoch, own.at) >= (than.epoch, than.at))
    }
}

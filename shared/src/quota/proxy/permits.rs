//! Permits: what may be in flight here.

use std::sync::Arc;

use uuid::Uuid;

use super::{Output, Proxy};
use crate::quota::message::{AccountId, KeyHash, SHARDS, Said, Shard};
use crate::quota::permits::Level;
use crate::quota::permits::proxy::Blocked;
use crate::quota::{Gates, OnUnreachable, Rules, shrink};
use crate::time::Time;

impl Proxy {
    /// Where requests take permits, and give them back.
    pub fn gates(&self) -> Arc<Gates> {
        self.permits.gates().clone()
    }

    /// For a request that found no permit.
    pub fn block_permit(&mut self, account: AccountId, now: Time) -> Blocked {
        let Some(rule) = self.rules.concurrent.get(&account.limit).copied() else {
            return Blocked::Stale;
        };
        let unheard = self.is_unheard(account.shard(), now);
        match self.permits.block(account, !unheard, now) {
            Blocked::Refused { .. } if unheard && rule.on_unreachable == OnUnreachable::Open => Blocked::Uncounted,
            blocked => blocked,
        }
    }

    /// A request that waited for a permit waits no longer.
    pub fn waited_for_permit(&mut self, account: AccountId, is_admitted: bool) {
        self.permits.waited(account, is_admitted);
    }

    /// A permit came back, and `Gates::leave` said that it matters.
    pub fn permit_left(&mut self, key: KeyHash, now: Time) {
        self.permits.left(key, now);
    }

    pub(super) fn permits_told(&mut self, owner: Uuid, level: &Level, now: Time) {
        self.adopt(level.account.shard(), level.epoch, Some(owner), now);
        let view = &self.views[usize::from(level.account.shard())];
        if view.epoch != level.epoch || view.owner != Some(owner) || !self.welcomed {
            return;
        }
        let rule = self.rules.concurrent.get(&level.account.limit);
        let revision = rule.map(|rule| rule.revision).filter(|_| !self.leaving);
        self.permits.level(level, revision, now);
    }

    /// Nothing that was given by a former form of a limit is used any more.
    pub(super) fn void_permits_of_others(&mut self, rules: &Rules, now: Time) {
        let former = &self.rules.concurrent;
        let of = |rules: &Rules, account: &AccountId| rules.concurrent.get(&account.limit).map(|rule| rule.revision);
        let is_changed =
            |account: &AccountId| former.get(&account.limit).map(|rule| rule.revision) != of(rules, account);
        self.permits.void(is_changed, now);
    }

    /// Whoever is back after a while may have been taken off the roster meanwhile, and what it had given to others.
    pub(super) fn void_permits_of_absence(&mut self, now: Time) {
        let absent: u64 = (0..SHARDS)
            .filter(|shard| self.is_unheard(*shard, now))
            .fold(0, |all, shard| all | 1 << shard);
        if absent != 0 {
            self.permits.void(|account| absent >> account.shard() & 1 == 1, now);
        }
    }

    pub(super) fn tick_permits(&mut self, now: Time) {
        if self.permits.is_idle() {
            return;
        }
        let forgotten: u64 = (0..SHARDS)
            .filter(|shard| self.is_forgotten(*shard, now))
            .fold(0, |all, shard| all | 1 << shard);
        if forgotten != 0 {
            self.permits.void(|account| forgotten >> account.shard() & 1 == 1, now);
        }
        self.permits.tick(now);
    }

    /// Whether it may be that nobody counts with this proxy any more.
    fn is_forgotten(&self, shard: Shard, now: Time) -> bool {
        let view = &self.views[usize::from(shard)];
        let forget_after = shrink(self.settings.forget_after);
        self.is_unheard(shard, now) && view.reached.is_none_or(|reached| now.since(reached) >= forget_after)
    }

    pub(super) fn say_of_permits(&mut self) {
        for report in self.permits.take_reports() {
            if let Some(owner) = self.views[usize::from(report.account.shard())].owner {
                self.say(owner, Said::Permits(report));
            }
        }
        let woken = self.permits.take_woken();
        self.outputs.extend(woken.into_iter().map(Output::Wake));
    }
}

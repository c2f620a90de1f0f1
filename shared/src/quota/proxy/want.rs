//! Asking for more.

use std::time::Duration;

use super::holding::{Holding, LOW};
use super::{Proxy, Verdict};
use crate::quota::OnUnreachable;
use crate::quota::message::{AccountId, KeyHash, Said, Want};
use crate::time::Time;

/// A want that brought nothing is said again after so long, while requests wait.
pub const AGAIN: Duration = Duration::from_millis(50);

impl Proxy {
    /// For a request whose slot had not got `cost` tokens.
    pub fn block(&mut self, account: AccountId, cost: u32, now: Time) -> Verdict {
        let Some(rule) = self.rules.of(&account.limit).copied() else {
            return Verdict::Stale;
        };
        if self.hold(account, rule, now).is_none() {
            return Verdict::Refuse {
                retry: now + rule.portion(),
            };
        }
        if self.find_enough(account.key, cost, now) {
            return Verdict::Again;
        }
        let cut_off = self.is_cut_off(account.shard(), now);
        if cut_off {
            self.close(account.key, now);
            match rule.on_unreachable {
                OnUnreachable::Open => return Verdict::Uncounted,
                OnUnreachable::Share if self.open_standby(account.key, cost, now) => return Verdict::Again,
                OnUnreachable::Share | OnUnreachable::Closed => {}
            }
        }
        let holding = self.holdings.get(&account.key);
        if !holding.is_some_and(|holding| holding.next.iter().any(|next| next.tokens >= cost)) {
            self.give_back_next(account.key, now);
        }
        let Some(holding) = self.holdings.get_mut(&account.key) else {
            return Verdict::Stale;
        };
        if now < holding.retry || cut_off {
            holding.demanded += u64::from(cost);
            let retry = holding.retry.max(now + AGAIN);
            return Verdict::Refuse { retry };
        }
        holding.queued += u64::from(cost);
        holding.least = u64::from(cost);
        self.want(account.key, now);
        self.schedule(account.key, now, now + AGAIN);
        Verdict::Wait
    }

    /// Opens an allowance that has so many tokens. Those that have fewer go back: together they may be enough.
    fn find_enough(&mut self, key: KeyHash, cost: u32, now: Time) -> bool {
        loop {
            self.advance(key, now);
            let rest = self.slots.rest(key);
            if rest >= cost {
                return true;
            }
            let is_last = |holding: &Holding| holding.open.is_none() || (rest == 0 && holding.next.is_empty());
            if self.holdings.get(&key).is_none_or(is_last) {
                return false;
            }
            self.close(key, now);
        }
    }

    /// A request that waited waits no longer.
    pub fn unqueue(&mut self, account: AccountId, cost: u32, admitted: bool) {
        let Some(holding) = self.holdings.get_mut(&account.key) else {
            return;
        };
        holding.queued = holding.queued.saturating_sub(u64::from(cost));
        if !admitted {
            holding.demanded += u64::from(cost);
        }
    }

    /// The slot is low, or empty: more should be there before it is needed, and what was spent counts from now on, not
    /// from when someone looks.
    pub fn prefetch(&mut self, account: AccountId, now: Time) {
        if self.slots.rest(account.key) == 0 {
            self.advance(account.key, now);
            if self.slots.rest(account.key) >= 2 * LOW {
                // It will be low.
                return;
            }
        }
        let Some(holding) = self.holdings.get(&account.key) else {
            return;
        };
        if holding.next.is_empty() && now >= holding.retry {
            self.ask(account.key, now);
        }
    }

    /// Says again what is wanted while requests wait.
    pub(super) fn want(&mut self, key: KeyHash, now: Time) {
        let Some(holding) = self.holdings.get(&key) else { return };
        if holding.queued > 0 && now >= holding.retry && self.slots.rest(key) == 0 {
            self.ask(key, now);
        }
    }

    fn ask(&mut self, key: KeyHash, now: Time) {
        let (refused, rest) = (self.slots.take_refused(key), self.slots.rest(key));
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        if holding.wanted_at.is_some_and(|at| now.since(at) < AGAIN) {
            return;
        }
        let Some(owner) = self.views[usize::from(holding.account.shard())].owner else {
            return;
        };
        holding.demanded += refused;
        holding.reckon(rest, now);
        holding.wanted_at = Some(now);
        let want = Want {
            account: holding.account,
            queued: holding.queued,
            least: holding.least,
            rate: holding.rate,
        };
        self.say(owner, Said::Want(want));
    }
}

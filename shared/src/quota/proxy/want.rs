//! Asking for more.

use std::time::Duration;

use super::{Proxy, Verdict};
use crate::quota::OnUnreachable;
use crate::quota::message::{AccountId, KeyHash, Said, Want};
use crate::time::Time;

/// A want that brought nothing is said again after so long, while requests wait.
pub const AGAIN: Duration = Duration::from_millis(50);
/// For so many tokens, spent while an allowance is valid, an account that is new is assumed to be asked.
const BURST: u64 = 8;

impl Proxy {
    /// For a request whose slot had not got `cost` tokens.
    pub fn block(&mut self, account: AccountId, cost: u32, now: Time) -> Verdict {
        let Some(rule) = self.rules.of(&account.limit).copied() else {
            return Verdict::Stale;
        };
        if self.hold(account, rule, now).is_none() {
            return Verdict::Refuse {
                retry: now + rule.validity(),
            };
        }
        self.advance(account.key, now);
        if self.slots.rest(account.key) < cost {
            // Too little for this request; what is behind it may have enough.
            self.close(account.key, now);
            self.advance(account.key, now);
        }
        if self.slots.rest(account.key) >= cost {
            return Verdict::Again;
        }
        let cut_off = self.is_cut_off(account.shard(), now);
        if cut_off {
            match rule.on_unreachable {
                OnUnreachable::Open => return Verdict::Uncounted,
                OnUnreachable::Share if self.open_standby(account.key, cost, now) => return Verdict::Again,
                OnUnreachable::Share | OnUnreachable::Closed => {}
            }
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
        self.want(account.key, now);
        self.schedule(account.key, now, now + AGAIN);
        Verdict::Wait
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
        let refused = self.slots.take_refused(key);
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
        let elapsed = now.since(holding.rated_at);
        let validity = holding.rule.validity();
        if elapsed >= validity / 2 {
            let rate = u128::from(holding.demanded) * 1_000_000_000_000 / elapsed.as_nanos().max(1);
            holding.rate = (holding.rate + u64::try_from(rate).unwrap_or(u64::MAX >> 1)) / 2;
            (holding.demanded, holding.rated_at) = (0, now);
        }
        let least = u128::from(BURST) * 1_000_000_000_000 / validity.as_nanos().max(1);
        holding.wanted_at = Some(now);
        let want = Want {
            account: holding.account,
            queued: holding.queued,
            rate: holding.rate.max(u64::try_from(least).unwrap_or(u64::MAX >> 1)),
        };
        self.say(owner, Said::Want(want));
    }
}

//! What goes back of allowances that are over, or not needed.

use std::time::Duration;

use super::Proxy;
use super::holding::{Allowance, Source};
use crate::quota::message::{KeyHash, Said};
use crate::time::Time;

/// What was used of an allowance that is over.
pub struct Used<'a> {
    pub tokens: u32,
    /// The last of it.
    pub last: Time,
    /// Of it, so much by then.
    pub earlier: &'a [(u64, Time)],
    /// Some of it may come back.
    pub unsettled: bool,
    /// If there is no hurry, its owner hears of it so long after its end at the latest.
    pub waits: Option<Duration>,
}

impl Proxy {
    /// Gives up what waits behind the open one. Nobody waits for it, then.
    pub(super) fn give_back_next(&mut self, key: KeyHash, now: Time) {
        let Some(holding) = self.holdings.get_mut(&key).filter(|holding| !holding.next.is_empty()) else {
            return;
        };
        holding.retry = Time::ZERO;
        for allowance in std::mem::take(&mut holding.next) {
            self.give_back(&allowance, now);
        }
        self.slots.forgive(key);
    }

    /// All that is held, and what was used of it.
    pub(super) fn give_back_all(&mut self, key: KeyHash, now: Time) {
        self.give_back_next(key, now);
        self.close(key, now);
        self.links.values_mut().for_each(|link| link.hurry(now));
    }

    /// Nothing of it was used.
    pub(super) fn give_back(&mut self, allowance: &Allowance, now: Time) {
        let nothing = Used {
            tokens: 0,
            last: now,
            earlier: &[],
            unsettled: false,
            waits: None,
        };
        self.give_back_used(allowance, nothing, now);
    }

    pub(super) fn give_back_used(&mut self, allowance: &Allowance, of: Used<'_>, now: Time) {
        let unspent = allowance.tokens.saturating_sub(of.tokens);
        if let Source::Grant { owner, id } = allowance.source {
            let said = Said::Return {
                id,
                used: u64::from(of.tokens),
                unspent: u64::from(unspent),
                age: now.since(of.last),
                earlier: of
                    .earlier
                    .iter()
                    .map(|(tokens, at)| (*tokens, now.since(*at)))
                    .collect(),
                unsettled: of.unsettled,
            };
            // Of what may come back late it is told after this.
            let waits = of.waits.filter(|_| unspent == 0 && !of.unsettled);
            match (self.links.get_mut(&owner), waits) {
                (Some(link), Some(waits)) => link.say_later(said, allowance.expiry + waits, now),
                (Some(link), None) => link.outbox.push(said),
                (None, _) => {}
            }
        }
    }
}

//! What was reserved of allowances that are over, and turns out not to have been used.
//!
//! It goes back to the owner, which charged it: told is how much it has become, so that a message may come twice, or late.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::Proxy;
use crate::quota::SETTLED_WITHIN;
use crate::quota::message::{GrantId, Said};
use crate::quota::slots::{Place, Taken};
use crate::time::Time;

/// Allowances that are remembered; of older ones what comes back is lost.
const REMEMBERED_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub struct Late {
    closed: BTreeMap<Place, Closed>,
    /// Until when each is remembered, in that order.
    until: VecDeque<(Time, Place)>,
}

#[derive(Debug)]
struct Closed {
    grant: (Uuid, GrantId),
    used: u64,
    refunded: u64,
}

impl Late {
    pub fn closed(&mut self, place: Place, grant: (Uuid, GrantId), used: u64, now: Time) {
        let is_over = |(until, _): &(Time, Place)| *until <= now;
        while self.until.front().is_some_and(is_over) || self.until.len() >= REMEMBERED_MAX {
            if let Some((_, place)) = self.until.pop_front() {
                self.closed.remove(&place);
            }
        }
        self.until.push_back((now + SETTLED_WITHIN, place));
        let refunded = 0;
        self.closed.insert(place, Closed { grant, used, refunded });
    }

    /// The grant, and what came back of it until now.
    fn refund(&mut self, place: Place, tokens: u64) -> Option<((Uuid, GrantId), u64)> {
        let closed = self.closed.get_mut(&place)?;
        closed.refunded = closed.refunded.saturating_add(tokens).min(closed.used);
        Some((closed.grant, closed.refunded))
    }
}

impl Proxy {
    /// Of what was taken so many tokens were not used, and its allowance was over before that was known.
    pub fn settle_late(&mut self, taken: Taken, tokens: u32) {
        let tokens = u64::from(tokens.min(taken.tokens()));
        if let Some(((owner, id), tokens)) = self.late.refund(taken.place(), tokens) {
            self.say(owner, Said::Refund { id, tokens });
        }
    }
}

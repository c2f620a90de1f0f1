//! What was reserved, returned as used, and turns out not to have been.
//!
//! Of an allowance that is over so many tokens were used, each in the bucket that it is charged to or before. Which of them come
//! back nobody says. Those charged to the earliest buckets go: of the others each is charged no earlier than it was used, then.

use super::Owner;
use super::peer::Grant;
use crate::change::Revision;
use crate::quota::message::{AccountId, GrantId};
use crate::quota::{Label, SETTLED_WITHIN};
use uuid::Uuid;

/// Allowances of one proxy that are remembered; of older ones what comes back is not taken.
const UNSETTLED_MAX: usize = 4_096;

#[derive(Clone, Debug)]
pub struct Unsettled {
    pub account: AccountId,
    epoch: u64,
    revision: Revision,
    /// Buckets and tokens, as far as they did not come back.
    charged: Vec<(u64, u64)>,
    refunded: u64,
    pub until: Label,
}

impl Unsettled {
    /// The next tokens to go back, all of one bucket; at most so many. None: there are none.
    fn take(&mut self, tokens: u64) -> Option<(u64, u64)> {
        let of = self.charged.iter_mut().filter(|(_, of)| *of > 0);
        let (bucket, of) = of.min_by_key(|(bucket, _)| *bucket)?;
        let taken = tokens.min(*of);
        *of -= taken;
        Some((*bucket, taken))
    }
}

impl Owner {
    /// `charged`: what was used of a grant, by buckets.
    pub(super) fn await_refund(&mut self, instance: Uuid, id: GrantId, grant: &Grant, charged: Vec<(u64, u64)>) {
        let until = self.now.after(SETTLED_WITHIN);
        let Some(peer) = self.peers.get_mut(&instance) else {
            return;
        };
        while peer.unsettled.len() >= UNSETTLED_MAX {
            peer.unsettled.pop_first();
        }
        let unsettled = Unsettled {
            account: grant.account,
            epoch: grant.epoch,
            revision: grant.revision,
            charged,
            refunded: 0,
            until,
        };
        peer.unsettled.insert(id, unsettled);
    }

    /// `tokens` of a grant came back, all in all. What is repeated or overtaken says nothing new.
    pub(super) fn refunded(&mut self, instance: Uuid, id: GrantId, tokens: u64) {
        let peer = self.peers.get_mut(&instance);
        let Some(of) = peer.and_then(|peer| peer.unsettled.get_mut(&id)) else {
            return;
        };
        let shard = of.account.shard();
        let held = self.held.get_mut(&shard);
        let Some(held) = held.filter(|held| held.epoch() == Some(of.epoch)) else {
            return;
        };
        let Some(account) = held.accounts.get_mut(&of.account) else {
            return;
        };
        let mut more = tokens.saturating_sub(of.refunded);
        of.refunded = of.refunded.max(tokens);
        while more > 0
            && let Some((bucket, tokens)) = of.take(more)
        {
            more -= tokens;
            match &mut account.ledger {
                Some(ledger) => ledger.refund(bucket, tokens, of.revision == account.rule.revision),
                None => drop(account.window.discharge(bucket, tokens)),
            }
        }
        let (id, is_wanted) = (of.account, !account.wants.is_empty());
        if is_wanted {
            self.serve(shard, id);
        }
        self.tell_earlier(shard, id);
    }
}

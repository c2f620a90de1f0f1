//! What an owner tells the new life of a proxy, so that a successor need not be blind for the one before.
//!
//! What a life that is over spent is known to its owner alone. Its next life asks for all that is charged, keeps it for as long as
//! it counts, and tells it in a census beside what it spent itself. All that the lives before took was granted by then, and is
//! charged; what was granted later, whoever holds it tells.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Owner;
use super::account::Account;
use super::census::Spent;
use super::claim::nanos;
use crate::change::Revision;
use crate::quota::message::{AccountId, Estate, Inherited, Shard, Testament, Told};
use crate::quota::{Algorithm, Label, shrink, stretch};

/// Charges that are told at once, and of one shard; some hundred bytes each. Of more accounts nothing is told.
const CHARGES_MAX: usize = 4_096;

/// What the owner of an epoch had charged, as its successor goes by it.
#[derive(Debug)]
pub struct Will {
    epoch: u64,
    /// By that owner's label time.
    at: Label,
    /// What was spent before this is not in it.
    pub since: Label,
    /// Who spent something by then was granted it before this was given.
    given: Label,
    /// Of the limits.
    pub revision: Revision,
    pub charges: Vec<Spent>,
    /// Accounts, and the lengths of their buckets.
    accounts: BTreeSet<(AccountId, u64)>,
}

impl Will {
    /// Told in answer to what was asked at `asked` or later.
    pub fn told(inherited: Inherited, asked: Label, now: Label) -> Will {
        let Inherited { testament, age } = inherited;
        let (least, most) = age;
        let before = |label: Label| now.before(shrink(testament.at.since(label).saturating_add(least)));
        let charges = testament.estates.iter().flat_map(|estate| {
            let end = |bucket: u64| Label::from_nanos(bucket.saturating_add(1).saturating_mul(estate.bucket));
            estate.charges.iter().map(move |(bucket, tokens)| Spent {
                account: estate.account,
                tokens: *tokens,
                bucket: (*bucket, estate.bucket),
                until: before(end(*bucket)).after(stretch(end(*bucket).since(testament.at))),
            })
        });
        let accounts = testament.estates.iter().map(|estate| (estate.account, estate.bucket));
        Will {
            epoch: testament.epoch,
            at: testament.at,
            since: match testament.since {
                Label::ZERO => Label::ZERO,
                since => before(since),
            },
            given: asked.before(stretch(most)),
            revision: testament.revision,
            charges: charges.collect(),
            accounts: accounts.collect(),
        }
    }

    /// Which of two holds all that the other one does, as far as either says that it knows it: the later one.
    pub fn order(&self) -> (u64, Label) {
        (self.epoch, self.at)
    }

    /// Whether this, which was spent before that epoch, is among its charges.
    pub fn holds(&self, spent: &Spent, epoch: u64) -> bool {
        // Owners between the two would have granted what is not in here.
        let is_of_predecessor = self.epoch + 1 == epoch;
        let is_counted = self.accounts.contains(&(spent.account, spent.bucket.1));
        is_of_predecessor && is_counted && spent.until <= self.given
    }
}

impl Owner {
    /// As much as goes at once of what a proxy asked for. It asks again for the rest.
    pub(super) fn bequeath(&mut self, to: Uuid, shards: &[Shard]) {
        let mut room = CHARGES_MAX;
        for shard in shards {
            let Some(testament) = self.testament(*shard) else {
                continue;
            };
            let Some(rest) = room.checked_sub(testament.charges()) else {
                break;
            };
            room = rest;
            self.tell(to, Told::Testament(testament));
        }
    }

    /// None: what is charged here is not all that may have been spent since some moment.
    fn testament(&self, shard: Shard) -> Option<Testament> {
        let now = self.now;
        let held = self.held.get(&shard)?;
        let epoch = held.epoch()?;
        let counted_since = now.before(self.settings.ledger_above * 2);
        let is_whole = held.census.is_none() && held.blind <= now && self.is_all_recorded(held);
        let has_strays = held.strays.iter().any(|spent| spent.until > counted_since);
        if !is_whole || has_strays || held.accounts.len() > CHARGES_MAX {
            return None;
        }
        let in_memory = held.accounts.iter().filter(|(_, account)| account.ledger.is_none());
        let most = CHARGES_MAX / held.accounts.len().max(1);
        let estates = in_memory.map(|(id, account)| Estate {
            account: *id,
            bucket: nanos(account.rule.bucket()),
            charges: charges(account, now, most),
        });
        let testament = Testament {
            shard,
            epoch,
            at: now,
            since: held.blind,
            revision: self.history.current().revision,
            estates: estates.filter(|estate| !estate.charges.is_empty()).collect(),
        };
        Some(testament).filter(|testament| testament.charges() <= CHARGES_MAX)
    }
}

/// What counts, in no more parts than that under `sliding`: each of several buckets, at the last of them. Of what nobody may
/// spend yet whoever comes to spend it tells.
fn charges(account: &Account, now: Label, most: usize) -> Vec<(u64, u64)> {
    let rule = &account.rule;
    let counts = |(bucket, _): &(u64, u64)| rule.end(*bucket) > now.before(rule.span());
    let all: Vec<(u64, u64)> = account.window.charges(now).into_iter().filter(counts).collect();
    if rule.algorithm == Algorithm::Fixed || all.len() <= most {
        return all;
    }
    let together = all.chunks(all.len().div_ceil(most.max(1)));
    let joined = together.filter_map(|buckets| {
        let (last, _) = buckets.last()?;
        let tokens = buckets
            .iter()
            .fold(0, |sum: u64, (_, tokens)| sum.saturating_add(*tokens));
        Some((*last, tokens))
    });
    joined.collect()
}

//! How much of what is left is granted to whom.

use std::time::Duration;

use uuid::Uuid;

use super::Owner;
use super::account::{Account, BURST, Wanted, tokens_in};
use super::claim::Held;
use super::peer::Part;
use crate::quota::label::Moment;
use crate::quota::message::{AccountId, Shard, Told, UNMET};
use crate::quota::{Algorithm, Label, Rule};

/// What can be granted of an account now, by one grant or several.
#[derive(Clone, Copy)]
pub struct Offer {
    tokens: u64,
    /// With what the store would give, as far as that is known.
    obtainable: u64,
    bucket: u64,
    expires: Label,
    /// All that counts is counted here, and by buckets, so that it is certain what will be free when.
    is_foreseen: bool,
}

/// What was granted so long ago and is not spent may be called back for somebody else. Sooner, and proxies that take turns
/// would take it from one another with each request.
const RECALL_AFTER: Duration = Duration::from_millis(500);
/// For what was called back to come back, before it is said that there is nothing.
const RECALL_TAKES: Duration = Duration::from_millis(40);

/// Proxies that did not get what they want.
#[derive(Default)]
pub struct Unmet {
    pub nothing: Vec<Uuid>,
    /// They got all that there was, and one of their requests takes so many more.
    pub short: Vec<(Uuid, u64)>,
    /// What each wants that was granted less than it will spend, and what it was.
    pub scarce: Vec<(Uuid, Wanted, u64)>,
}

impl Owner {
    /// Grants what is there to those who want it.
    pub(super) fn serve(&mut self, shard: Shard, id: AccountId) {
        let now = self.now;
        let promise = self.settings.promise;
        let rule = self.history.current().of(&id.limit).copied();
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(account) = held.accounts.get_mut(&id) else {
            held.waiting.remove(&id);
            return;
        };
        account.wants.retain(|_, want| now.since(want.at) < promise);
        let Some(rule) = rule.filter(|_| !account.wants.is_empty()) else {
            held.waiting.remove(&id);
            return;
        };
        if self.is_astray() {
            return;
        }
        if self.restless.is_stale(now) {
            self.look_for_restless();
        }
        self.refill(shard, id, &rule);
        let Some(offer) = self.offer(shard, &id, &rule) else {
            return;
        };
        let mut unmet = self.distribute(shard, id, &rule, offer);
        if offer.is_foreseen {
            self.grant_ahead(shard, id, &rule, &mut unmet);
        }
        if !unmet.nothing.is_empty() || !unmet.short.is_empty() {
            self.recall(shard, id, &rule);
            self.tell_exhausted(shard, id, &rule, &unmet);
        }
    }

    /// Of an account that is counted in the store.
    fn refill(&mut self, shard: Shard, id: AccountId, rule: &Rule) {
        let Some(held) = self.held.get(&shard) else { return };
        let Some(now) = held.moment(self.now) else { return };
        let Some(account) = held.accounts.get(&id) else { return };
        let Some(ledger) = &account.ledger else { return };
        let demand = account.demand();
        let enough = tokens_in(rule.portion(), demand.rate)
            .max(demand.queued)
            .max(demand.least)
            .max(1);
        let kept = self.kept_back_next(held, rule);
        if ledger.available(rule, now, kept) < enough {
            self.reserve(shard, id);
        }
    }

    /// None while nothing can be said.
    fn offer(&self, shard: Shard, id: &AccountId, rule: &Rule) -> Option<Offer> {
        let now = self.now;
        let held = self.held.get(&shard)?;
        let claim = held.claim?;
        let account = held.accounts.get(id)?;
        let (bucket, end) = match (&account.ledger, rule.algorithm) {
            (Some(ledger), _) => (
                ledger.bucket(),
                ledger
                    .usable_until(rule, held.moment(now)?)
                    .min(now.after(rule.validity())),
            ),
            (None, Algorithm::Sliding) => {
                let bucket = rule.bucket_of(now) + u64::from(Rule::VALID_BUCKETS) - 1;
                (bucket, rule.end(bucket))
            }
            (None, Algorithm::Fixed) => {
                let bucket = rule.bucket_of(now);
                (
                    bucket,
                    rule.end(bucket).before(rule.guard()).min(now.after(rule.validity())),
                )
            }
        };
        let expires = end.min(claim.to);
        let is_unknown = match account.ledger {
            None => is_blind(held, rule, now),
            Some(_) => is_unrecorded(held, rule, now),
        };
        if is_unknown || held.closed_until(rule, now).is_some() {
            let none = Offer {
                tokens: 0,
                obtainable: 0,
                bucket,
                expires,
                is_foreseen: false,
            };
            return held.is_exact(now).then_some(none);
        }
        if expires <= now && account.ledger.is_none() {
            return None;
        }
        let kept = self.kept_back(held, rule, expires);
        let charged = || account.window.peak(rule, now);
        let (tokens, obtainable) = match &account.ledger {
            Some(ledger) => {
                let moment = held.moment(now)?;
                let obtainable = ledger.obtainable(rule, moment, self.kept_back_next(held, rule));
                (ledger.available(rule, moment, kept), obtainable)
            }
            None => (rule.threshold.saturating_sub(charged()).saturating_sub(kept), 0),
        };
        Some(Offer {
            tokens,
            obtainable,
            bucket,
            expires,
            is_foreseen: account.ledger.is_none() && rule.algorithm == Algorithm::Sliding,
        })
    }

    /// By demand; those who get little get what requests wait for. Who did not.
    fn distribute(&mut self, shard: Shard, id: AccountId, rule: &Rule, offer: Offer) -> Unmet {
        let now = self.now;
        let members = &self.members;
        let mut unmet = Unmet::default();
        let Some(held) = self.held.get_mut(&shard) else {
            return unmet;
        };
        let Some(epoch) = held.epoch() else { return unmet };
        let is_exact = held.is_exact(now);
        let Some(account) = held.accounts.get_mut(&id) else {
            return unmet;
        };
        let is_all = is_exact && account.is_settled();
        let all = u128::from(account.demand().rate).max(1);
        let mut rest = offer.tokens;
        let mut wants: Vec<(Uuid, Wanted)> = account
            .wants
            .iter()
            .map(|(instance, want)| (*instance, *want))
            .collect();
        wants.sort_by_key(|(_, want)| want.at);
        for (instance, want) in wants {
            let Some(peer) = self.peers.get_mut(&instance).filter(|_| members.contains(&instance)) else {
                continue;
            };
            if peer.id.boot == UNMET {
                continue;
            }
            let fair = u64::try_from(u128::from(offer.tokens) * u128::from(want.rate) / all).unwrap_or(u64::MAX);
            let portion = tokens_in(rule.portion(), want.rate).max(BURST);
            let tokens = match fair.min(portion) {
                0 => want.queued,
                some => some.max(want.queued).max(want.least),
            };
            let tokens = tokens.min(rest).min(u64::from(u32::MAX));
            let lacks = want.least.saturating_sub(tokens);
            if lacks > 0 && tokens > 0 && want.queued == 0 {
                // Nobody waits for them: what the proxy has in hand may come to more, with what comes back of it.
                account.wants.remove(&instance);
                continue;
            }
            // The last ones are for requests that take less, once it is certain that they are the last.
            if tokens == 0 || (lacks > 0 && !is_all) {
                // Who was told when to come again is looked at with what comes back, and when it comes.
                if want.told > now {
                    continue;
                }
                unmet.nothing.push(instance);
                unmet.scarce.push((instance, want, 0));
                continue;
            }
            if tokens < portion {
                unmet.scarce.push((instance, want, tokens));
            }
            if lacks > 0 {
                unmet.short.push((instance, lacks));
            }
            rest -= tokens;
            account.wants.remove(&instance);
            account.told.remove(&instance);
            match &mut account.ledger {
                Some(ledger) => ledger.take(tokens),
                None => account.window.charge(offer.bucket, tokens),
            }
            let part = Part {
                tokens,
                bucket: offer.bucket,
                from: now,
                expires: offer.expires,
                spent_by: spent_by(rule, tokens, &want, now),
            };
            peer.grant(id, epoch, rule, part, now);
        }
        unmet
    }

    /// What others were granted a while ago and may not need.
    fn recall(&mut self, shard: Shard, id: AccountId, rule: &Rule) {
        let now = self.now;
        let Some(account) = self.held.get_mut(&shard).and_then(|held| held.accounts.get_mut(&id)) else {
            return;
        };
        let old = recalled_after(rule);
        if now.since(account.recalled_at) < old {
            return;
        }
        for (instance, peer) in &mut self.peers {
            if account.wants.contains_key(instance) {
                continue;
            }
            let mut grants = peer.grants.iter_mut();
            if let Some((grant, of)) = grants.find(|(_, of)| of.account == id && of.is_recallable && now >= of.spent_by)
            {
                of.is_recallable = false;
                account.recalled_at = now;
                peer.outbox.push(Told::Recall {
                    id: *grant,
                    tokens: of.tokens,
                });
            }
        }
    }

    fn tell_exhausted(&mut self, shard: Shard, id: AccountId, rule: &Rule, unmet: &Unmet) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let is_exact = held.is_exact(now);
        let Some(epoch) = held.epoch() else { return };
        let closed_until = held.closed_until(rule, now);
        let Some(moment) = held.moment(now) else { return };
        let Some(account) = held.accounts.get_mut(&id) else {
            return;
        };
        if !is_exact || !account.is_settled() || now.since(account.recalled_at) < RECALL_TAKES {
            return;
        }
        // What others have not spent may come back before anything counts no more.
        let unspent = self
            .peers
            .iter()
            .filter(|(instance, _)| !account.wants.contains_key(instance));
        let unspent = unspent.flat_map(|(_, peer)| peer.grants.values());
        let unspent = unspent.filter(|of| of.account == id && of.is_recallable && of.expires > now);
        let recallable = unspent
            .map(|of| of.spent_by.max(account.recalled_at.after(recalled_after(rule))))
            .min();
        let or_recalled = |chance: Label| recallable.map_or(chance, |at| chance.min(at.max(now)));
        let mut told = Vec::new();
        for instance in &unmet.nothing {
            let Some(want) = account.wants.get(instance).filter(|want| want.told <= now) else {
                continue;
            };
            let retry = closed_until.unwrap_or_else(|| or_recalled(next_chance(account, rule, moment, want.least)));
            told.push((*instance, retry));
        }
        for (instance, lacks) in &unmet.short {
            told.push((*instance, or_recalled(next_chance(account, rule, moment, *lacks))));
        }
        for (instance, retry) in told {
            if let Some(want) = account.wants.get_mut(&instance) {
                (want.told, want.told_at) = (retry, now);
            }
            account.told.insert(instance, retry);
            if let Some(peer) = self.peers.get_mut(&instance) {
                peer.outbox.push(Told::Exhausted {
                    account: id,
                    epoch,
                    retry_in: retry.since(now),
                });
            }
        }
    }
}

impl Owner {
    /// Something came back, or was spent earlier than it could have been: who refuses requests until a later time by what it
    /// was told may come before.
    pub(super) fn tell_earlier(&mut self, shard: Shard, id: AccountId) {
        let now = self.now;
        let Some(rule) = self.history.current().of(&id.limit).copied() else {
            return;
        };
        let told = |held: &Held| held.accounts.get(&id).is_some_and(|account| !account.told.is_empty());
        let Some(held) = self.held.get(&shard).filter(|held| told(held) && held.is_exact(now)) else {
            return;
        };
        if held.closed_until(&rule, now).is_some() {
            return;
        }
        let (Some(epoch), Some(moment), Some(offer)) = (held.epoch(), held.moment(now), self.offer(shard, &id, &rule))
        else {
            return;
        };
        let Some(account) = self.held.get_mut(&shard).and_then(|held| held.accounts.get_mut(&id)) else {
            return;
        };
        let chance = match offer.tokens.max(offer.obtainable) {
            0 => frees_at(account, &rule, moment, 1),
            _ => now,
        };
        for (instance, retry) in &mut account.told {
            if chance.after(retry_least(&rule)) > *retry {
                continue;
            }
            *retry = chance;
            if let Some(peer) = self.peers.get_mut(instance) {
                peer.outbox.push(Told::Exhausted {
                    account: id,
                    epoch,
                    retry_in: chance.since(now),
                });
            }
        }
    }
}

/// When its proxy should have spent so many, by what it says that it spends, and a quarter more time: before they are over, if it
/// spends a portion in a portion's time. What requests wait for is spent at once, and a few are granted whether they are or not.
fn spent_by(rule: &Rule, tokens: u64, want: &Wanted, now: Label) -> Label {
    let later = tokens.saturating_sub(want.queued.max(want.least));
    if later <= BURST {
        return now.after(recalled_after(rule));
    }
    let nanos = u128::from(later) * 1_000_000_000_000 / u128::from(want.rate.max(1)) * 5 / 4;
    let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    now.after(takes.min(rule.portion() * 5 / 4).max(recalled_after(rule)))
}

fn recalled_after(rule: &Rule) -> Duration {
    rule.patience().min(RECALL_AFTER)
}

/// Before it is known what was spent, everything is.
fn is_blind(held: &Held, rule: &Rule, now: Label) -> bool {
    let limit = held.blind_limits.get(&rule.limit).copied().unwrap_or(Label::ZERO);
    counts_yet(held.blind.max(limit), rule, now)
}

/// What an owner before granted out of its memory is in no row.
fn is_unrecorded(held: &Held, rule: &Rule, now: Label) -> bool {
    let until = held.unrecorded.get(&rule.limit);
    until.is_some_and(|until| counts_yet(held.blind.min(*until), rule, now))
}

/// What was spent until then at the latest.
fn counts_yet(until: Label, rule: &Rule, now: Label) -> bool {
    match rule.algorithm {
        Algorithm::Sliding => until > now.before(rule.span()),
        Algorithm::Fixed => until > rule.begin(rule.bucket_of(now)),
    }
}

/// Nobody is told to come again sooner, nor told that it may be so much sooner than it was told.
fn retry_least(rule: &Rule) -> Duration {
    rule.patience() / 2
}

/// When there may be so many tokens again: once charges of as many count no more.
fn next_chance(account: &Account, rule: &Rule, now: Moment, tokens: u64) -> Label {
    let least = retry_least(rule).min(Duration::from_secs(1));
    frees_at(account, rule, now, tokens).max(now.label.after(least))
}

fn frees_at(account: &Account, rule: &Rule, now: Moment, tokens: u64) -> Label {
    match &account.ledger {
        Some(ledger) => ledger.frees_at(rule, now, tokens),
        None => account.window.frees_at(rule, now.label, tokens),
    }
}

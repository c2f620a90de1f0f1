//! What is granted before it may be spent.
//!
//! Where more is asked for than there is, tokens come free bucket by bucket, and each would be asked for anew. But when they will be
//! is known: what was charged counts no more from a certain moment on, whatever happens. So a proxy is granted its share of what
//! comes free while an allowance may be valid, in parts, each from its moment on.
//!
//! Why that is sound: of the tokens admitted in an interval of one period take those that could be spent last, from some moment on.
//! That moment lies in the interval, or before it, and every other token of it could be spent by then and is charged to a bucket
//! that counts then. So it is enough that at no moment from which on something may be spent more than the threshold counts.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::Owner;
use super::account::{Wanted, tokens_in};
use super::claim::Held;
use super::peer::Part;
use super::serve::Unmet;
use crate::quota::message::{AccountId, Shard, Told};
use crate::quota::{Label, Rule};

/// What a proxy is granted ahead it is expected to spend within so many buckets.
const SPENT_IN: u32 = 2;
/// Proxies that are remembered for one account.
const TAKERS_MAX: usize = 256;

/// The proxies that wanted more of an account than there was. What comes free is shared by what they ask for.
#[derive(Debug, Default)]
pub struct Takers {
    known: Vec<Taker>,
    /// When others gave back what they had been granted ahead, for one that was new.
    shared_at: Label,
}

#[derive(Clone, Copy, Debug)]
struct Taker {
    instance: Uuid,
    /// Tokens per second, thousandths.
    rate: u64,
    at: Label,
    /// It has been asking since then.
    since: Label,
    /// Others may hold what is its share by now.
    is_new: bool,
    /// It was granted its share of what comes free until then.
    served: Label,
}

impl Takers {
    pub fn remove(&mut self, instance: &Uuid) {
        self.known.retain(|taker| taker.instance != *instance);
    }

    /// Who has not asked for long asks no more.
    pub fn forget(&mut self, rule: &Rule, now: Label) {
        self.known.retain(|taker| now.since(taker.at) < rule.validity() * 2);
    }

    /// If it is there yet, it asks for its share of what comes free.
    pub fn gave_back(&mut self, instance: &Uuid, now: Label) {
        if let Some(taker) = self.known.iter_mut().find(|taker| taker.instance == *instance) {
            taker.served = taker.served.min(now);
        }
    }

    /// What all of those ask for that have not got their share of what comes free at that moment, but this one.
    fn others(&self, instance: &Uuid, rule: &Rule, (now, at): (Label, Label)) -> u64 {
        let others = self.known.iter().filter(|taker| taker.instance != *instance);
        let due = others.filter(|taker| taker.is_there(rule, now) && taker.served < at);
        due.fold(0, |sum, taker| sum.saturating_add(taker.rate))
    }

    /// Whether its load has not just come to it, and may not go on to the next one as soon.
    fn has_stayed(&self, instance: &Uuid, rule: &Rule, now: Label) -> bool {
        let known = self.known.iter().find(|taker| taker.instance == *instance);
        known.is_some_and(|taker| now >= taker.since.after(rule.validity()))
    }

    fn note(&mut self, taker: Taker, rule: &Rule) {
        let known = self.known.iter_mut().find(|other| other.instance == taker.instance);
        if let Some(other) = known {
            let served = taker.served.max(other.served);
            let (since, is_new) = match taker.at.since(other.at) < rule.validity() * 2 {
                true => (other.since, other.is_new),
                false => (taker.since, true),
            };
            *other = Taker {
                since,
                is_new,
                served,
                ..taker
            };
        } else if self.known.len() < TAKERS_MAX {
            self.known.push(taker);
        }
    }

    /// Those who hold what was granted ahead, if this one is new. They give it back and ask anew, if anybody asks them.
    fn share_anew(&mut self, with: &Uuid, rule: &Rule, now: Label) -> Vec<Uuid> {
        let new = self
            .known
            .iter_mut()
            .find(|taker| taker.instance == *with && taker.is_new);
        let Some(new) = new.filter(|_| now.since(self.shared_at) >= rule.portion()) else {
            return Vec::new();
        };
        new.is_new = false;
        self.shared_at = now;
        let soon = now.after(rule.patience());
        let others = self.known.iter_mut().filter(|taker| taker.instance != *with);
        let holders = others.filter(|taker| taker.served > soon);
        let told = holders.map(|taker| {
            taker.served = now;
            taker.instance
        });
        told.collect()
    }
}

impl Taker {
    /// It asks again before it is through with what it was granted; who was granted nothing may have been told to come later.
    fn is_there(&self, rule: &Rule, now: Label) -> bool {
        let until = match self.served > self.at {
            true => self.served.after(rule.patience()),
            false => self.at.after(rule.validity() * 2),
        };
        now < until
    }
}

/// The moments after `now` at which tokens come free that are charged to a bucket: the same for whoever asks.
fn come_free(rule: &Rule, now: Label, until: Label) -> Vec<Label> {
    let oldest = rule.bucket_of(now.before(rule.span()));
    let buckets = oldest..oldest + u64::from(Rule::VALID_BUCKETS);
    let moments = buckets.map(|bucket| rule.end(bucket).after(rule.span()));
    moments.take_while(|moment| *moment <= until).collect()
}

impl Owner {
    /// For those who want more than there is.
    pub(super) fn grant_ahead(&mut self, shard: Shard, id: AccountId, rule: &Rule, unmet: &mut Unmet) {
        for (instance, want, given) in std::mem::take(&mut unmet.scarce) {
            // What is seldom asked for would lie there, while others are refused.
            let is_spent = tokens_in(rule.bucket() * SPENT_IN, want.asked) > 0;
            let (parts, served) = match is_spent {
                true => self.parts(shard, &id, rule, (instance, want, given)),
                false => (Vec::new(), Label::ZERO),
            };
            let taker = Taker {
                instance,
                rate: want.rate,
                at: self.now,
                since: self.now,
                is_new: true,
                served,
            };
            self.note_taker(shard, &id, rule, taker, is_spent);
            if parts.is_empty() {
                continue;
            }
            unmet.nothing.retain(|other| *other != instance);
            unmet.short.retain(|(other, _)| *other != instance);
            self.grant_parts(shard, id, rule, instance, &parts);
        }
    }

    /// When whoever is granted something ahead may spend it at the latest.
    fn horizon(&self, shard: Shard, rule: &Rule) -> Option<(u64, Label)> {
        let claim = self.held.get(&shard)?.claim?;
        let bucket = rule.bucket_of(self.now) + u64::from(Rule::VALID_BUCKETS) - 1;
        let end = rule.end(bucket).min(self.now.after(rule.validity()));
        Some((bucket, end.min(claim.to)))
    }

    /// Its share of what comes free, by what it asks for and the others do who have not got theirs; and the last moment of those that
    /// this is its share of. `given`: what it has just got.
    fn parts(
        &self,
        shard: Shard,
        id: &AccountId,
        rule: &Rule,
        (instance, want, given): (Uuid, Wanted, u64),
    ) -> (Vec<Part>, Label) {
        let (now, soon) = (self.now, rule.bucket() * SPENT_IN);
        let held = self.held.get(&shard);
        let account = held.and_then(|held| Some((held, held.accounts.get(id)?)));
        let (Some((bucket, expires)), Some((held, account))) = (self.horizon(shard, rule), account) else {
            return (Vec::new(), Label::ZERO);
        };
        let kept = self.kept_back(held, rule, expires);
        let far = expires.before(soon);
        let until = match account.takers.has_stayed(&instance, rule, now) {
            true => far,
            false => far.min(now.after(rule.patience())),
        };
        let moments = come_free(rule, now, until);
        let last = moments.last().copied().unwrap_or(Label::ZERO);
        let peaks = account.window.peaks(rule, &moments);
        let (mut parts, mut sum) = (Vec::new(), given);
        for (from, peak) in moments.into_iter().zip(peaks) {
            let charged = peak.saturating_add(kept).saturating_add(sum - given);
            let free = rule.threshold.saturating_sub(charged);
            let others = account.takers.others(&instance, rule, (now, from));
            let rates = others.saturating_add(want.rate).max(1);
            let share = u128::from(free.saturating_add(sum)) * u128::from(want.rate) / u128::from(rates);
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            let asked = tokens_in(from.after(soon).since(now), want.asked);
            let tokens = share.min(asked).saturating_sub(sum).min(free).min(u64::from(u32::MAX));
            if tokens > 0 && tokens >= want.least {
                sum += tokens;
                parts.push(Part {
                    tokens,
                    bucket,
                    from,
                    expires,
                    spent_by: expires,
                });
            }
        }
        let served = match parts.is_empty() {
            true => Label::ZERO,
            false => last,
        };
        (parts, served)
    }

    /// Those who have got their share of the same without it are to come for a new one.
    fn note_taker(&mut self, shard: Shard, id: &AccountId, rule: &Rule, taker: Taker, is_spent: bool) {
        let account = self.held.get_mut(&shard).and_then(|held| held.accounts.get_mut(id));
        let Some(account) = account else { return };
        let (instance, now) = (taker.instance, taker.at);
        account.takers.note(taker, rule);
        if is_spent {
            let told = account.takers.share_anew(&instance, rule, now);
            told.into_iter().for_each(|other| self.ask_anew(shard, *id, other));
        }
    }

    /// Of a life that is over: what it could not spend yet it never will.
    pub(super) fn withdraw_ahead(&mut self, instance: &Uuid) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(instance) else {
            return;
        };
        let grants = std::mem::take(&mut peer.grants);
        let (ahead, over): (BTreeMap<_, _>, _) = grants.into_iter().partition(|(_, grant)| grant.at > now);
        peer.grants = over;
        for grant in ahead.into_values() {
            let held = self.held.get_mut(&grant.account.shard());
            let held = held.filter(|held| held.epoch() == Some(grant.epoch));
            if let Some(account) = held.and_then(|held| held.accounts.get_mut(&grant.account)) {
                account.window.withdraw(grant.at, grant.bucket, grant.tokens);
            }
        }
    }

    /// What it was granted ahead is not its share any more: perhaps its load has gone to another.
    fn ask_anew(&mut self, shard: Shard, account: AccountId, taker: Uuid) {
        if let Some(epoch) = self.held.get(&shard).and_then(Held::epoch) {
            let retry_in = Duration::ZERO;
            self.tell(
                taker,
                Told::Exhausted {
                    account,
                    epoch,
                    retry_in,
                },
            );
        }
    }

    fn grant_parts(&mut self, shard: Shard, id: AccountId, rule: &Rule, instance: Uuid, parts: &[Part]) {
        let now = self.now;
        let (Some(held), Some(peer)) = (self.held.get_mut(&shard), self.peers.get_mut(&instance)) else {
            return;
        };
        let Some(epoch) = held.epoch() else { return };
        let Some(account) = held.accounts.get_mut(&id) else {
            return;
        };
        account.wants.remove(&instance);
        account.told.remove(&instance);
        for part in parts {
            account.window.charge_ahead(part.from, part.bucket, part.tokens);
            peer.grant(id, epoch, rule, *part, now);
        }
    }
}

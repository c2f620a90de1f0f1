//! What an owner counts for one limit and one requester.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::ahead::Takers;
use super::claim::Held;
use super::{Output, Owner};
use crate::quota::cell::{CellKey, CellValue, Outcome};
use crate::quota::label::Moment;
use crate::quota::ledger::{Demand, Ledger, Request};
use crate::quota::message::{AccountId, GrantId, Shard, Want};
use crate::quota::window::Window;
use crate::quota::{Algorithm, Label, Rule, Rules};

#[derive(Debug)]
pub struct Account {
    pub rule: Rule,
    pub window: Window,
    /// Only of an account that is counted in the store.
    pub ledger: Option<Ledger>,
    pub wants: BTreeMap<Uuid, Wanted>,
    /// Who wanted more than there was.
    pub takers: Takers,
    /// Who goes by it that there is nothing before this.
    pub told: BTreeMap<Uuid, Label>,
    pub recalled_at: Label,
    used_at: Label,
}

#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub queued: u64,
    pub least: u64,
    /// Tokens per second, thousandths: what is asked for, and what is supposed to be of an account that is new.
    pub asked: u64,
    pub rate: u64,
    pub at: Label,
    /// It was told, then, that there is nothing before this.
    pub told: Label,
    pub told_at: Label,
}

/// A proxy that knows when to come again does not ask before; one that asks so long after it was told has not heard it, or
/// not of this form of the limit.
const HEARD: Duration = Duration::from_millis(50);

/// So many tokens a proxy is supposed to spend in a portion's time, and is granted if there are, however few it does spend.
pub const BURST: u64 = 8;

/// An account that nobody wanted anything of for so long after its last grants are over is idle.
const IDLE: Duration = Duration::from_secs(2);

/// The whole tokens at a rate, of thousandths per second.
pub fn tokens_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000_000).unwrap_or(u64::MAX)
}

impl Account {
    pub fn new(rule: Rule, ledger_above: Duration) -> Account {
        Account {
            rule,
            window: Window::default(),
            ledger: (rule.period > ledger_above).then(Ledger::default),
            wants: BTreeMap::new(),
            takers: Takers::default(),
            told: BTreeMap::new(),
            recalled_at: Label::ZERO,
            used_at: Label::ZERO,
        }
    }

    /// Whether the store owes no answer about it.
    pub fn is_settled(&self) -> bool {
        self.ledger.as_ref().is_none_or(Ledger::is_idle)
    }

    pub fn demand(&self) -> Demand {
        let wants = self.wants.values();
        wants.fold(Demand::default(), |sum, want| Demand {
            rate: sum.rate.saturating_add(want.rate),
            queued: sum.queued.saturating_add(want.queued),
            least: sum.least.max(want.least),
            ..sum
        })
    }

    /// Goes on by another rule with what was charged by the one before.
    fn follow(&mut self, rule: Rule, ledger_above: Duration, now: Label) {
        let charged = match &self.ledger {
            Some(ledger) => ledger.carry(),
            None => {
                self.window.prune(&self.rule, now);
                self.window.charges(Label::MAX).iter().map(|(_, tokens)| tokens).sum()
            }
        };
        if rule.period > ledger_above {
            self.ledger = Some(Ledger::carrying(charged));
            self.window = Window::default();
        } else if self.ledger.take().is_none() {
            self.window.convert(&self.rule, &rule, now);
        }
        self.rule = rule;
    }
}

impl Owner {
    pub(super) fn wanted(&mut self, instance: Uuid, want: Want) {
        let now = self.now;
        let Some(rule) = self.history.current().of(&want.account.limit).copied() else {
            return;
        };
        let (ledger_above, accounts_max) = (self.settings.ledger_above, self.settings.accounts_max);
        let shard = want.account.shard();
        let Some(held) = self.held.get_mut(&shard).filter(|held| held.claim.is_some()) else {
            return;
        };
        if held.accounts.len() >= accounts_max && !held.accounts.contains_key(&want.account) {
            return;
        }
        let account = held.accounts.entry(want.account);
        let account = account.or_insert_with(|| Account::new(rule, ledger_above));
        let before = account.wants.get(&instance);
        let before = before.filter(|want| now.since(want.told_at) < HEARD);
        let supposed = u128::from(BURST) * 1_000_000_000_000 / rule.portion().as_nanos().max(1);
        let wanted = Wanted {
            queued: want.queued,
            least: want.least,
            asked: want.rate,
            rate: want.rate.max(u64::try_from(supposed).unwrap_or(u64::MAX >> 1)),
            at: now,
            told: before.map_or(Label::ZERO, |want| want.told),
            told_at: before.map_or(Label::ZERO, |want| want.told_at),
        };
        account.used_at = now;
        account.wants.insert(instance, wanted);
        held.waiting.insert(want.account);
        self.serve(shard, want.account);
    }

    /// What a grant was not used for goes back, once; what it was used for is charged where that was.
    ///
    /// `unsettled`: whether some of the others may come back later. `spent`: of those that were spent, how many until when at the
    /// latest; the last may be all of them.
    pub(super) fn returned(
        &mut self,
        instance: Uuid,
        id: GrantId,
        (unspent, unsettled): (u64, bool),
        spent: impl Iterator<Item = (u64, Label)>,
    ) {
        let Some(grant) = self.peers.get_mut(&instance).and_then(|peer| peer.grants.remove(&id)) else {
            return;
        };
        let shard = grant.account.shard();
        let held = self.held.get_mut(&shard);
        let Some(held) = held.filter(|held| held.epoch() == Some(grant.epoch)) else {
            return;
        };
        let moment = held.moment(self.now);
        let Some(account) = held.accounts.get_mut(&grant.account) else {
            return;
        };
        let unspent = unspent.min(grant.tokens);
        let mut used = grant.tokens - unspent;
        let spent = spent.filter(|_| account.rule.algorithm == Algorithm::Sliding);
        let mut charged = Vec::new();
        match &mut account.ledger {
            Some(ledger) => {
                ledger.refund(grant.bucket, unspent, grant.revision == account.rule.revision);
                for (tokens, until) in spent {
                    let label = until.max(grant.at);
                    let counted = moment.map(|now| Moment { label, ..now }.counted(account.rule.algorithm));
                    let bucket = counted.map_or(grant.bucket, |counted| account.rule.bucket_of(counted));
                    let tokens = tokens.min(used);
                    ledger.spent(grant.bucket, bucket, tokens);
                    charged.push((bucket.min(grant.bucket), tokens));
                    used -= tokens;
                }
            }
            None => {
                account.window.withdraw(grant.at, grant.bucket, unspent);
                for (tokens, until) in spent {
                    let bucket = account.rule.bucket_of(until).min(grant.bucket);
                    let moved = account.window.withdraw(grant.at, grant.bucket, tokens.min(used));
                    account.window.charge(bucket, moved);
                    charged.push((bucket, moved));
                    used -= moved;
                }
            }
        }
        let is_wanted = !account.wants.is_empty();
        if unspent > 0 && grant.at > self.now {
            account.takers.gave_back(&instance, self.now);
        }
        if unsettled {
            charged.push((grant.bucket, used));
            self.await_refund(instance, id, &grant, charged);
        }
        if is_wanted {
            self.serve(shard, grant.account);
        }
        self.tell_earlier(shard, grant.account);
    }

    pub(super) fn replace_rules(&mut self, rules: Rules) {
        let (now, ledger_above) = (self.now, self.settings.ledger_above);
        let former = self.history.current().clone();
        if !self.history.replace(rules, now) {
            return;
        }
        let current = self.history.current();
        let recounted = |rule: &&Rule| current.of(&rule.limit).is_some_and(|now| !now.counts_like(rule));
        let recounted = self.history.former(&former).filter(recounted);
        for rule in recounted {
            let until = now.after(rule.validity());
            for held in self.held.values_mut() {
                if rule.period > ledger_above {
                    held.blind_limits.insert(rule.limit, until);
                } else if held.blind > now.before(rule.span()) {
                    held.unrecorded.insert(rule.limit, until);
                }
            }
        }
        for (id, account) in self.held.values_mut().flat_map(|held| &mut held.accounts) {
            let Some(rule) = current.of(&id.limit) else {
                account.wants.clear();
                continue;
            };
            if account.rule.counts_like(rule) {
                // What was reserved under a higher threshold is not there to be granted under this one.
                if let Some(ledger) = account
                    .ledger
                    .as_mut()
                    .filter(|_| rule.threshold < account.rule.threshold)
                {
                    ledger.close();
                }
                account.rule = *rule;
                continue;
            }
            account.follow(*rule, ledger_above, now);
            for peer in self.peers.values_mut() {
                peer.forget_grants(id);
            }
        }
        self.look_for_restless();
        self.import_strays();
        self.look_at_handovers();
        self.distrust_new_edits();
        self.look_at_permits(&former);
        if let Some(oldest) = self.oldest_revision() {
            self.history.forget_before(oldest);
        }
    }

    pub(super) fn tick_accounts(&mut self) {
        let now = self.now;
        let waiting = self
            .held
            .iter()
            .flat_map(|(shard, held)| held.waiting.iter().map(|account| (*shard, *account)));
        for (shard, account) in waiting.collect::<Vec<_>>() {
            self.serve(shard, account);
        }
        for peer in self.peers.values_mut() {
            peer.grants.retain(|_, grant| now < grant.forgotten);
            peer.unsettled.retain(|_, of| now < of.until);
        }
        // A shard at a time: what is forgotten later does no harm.
        let turn = (now.as_nanos() / 20_000_000) % u64::from(crate::quota::SHARDS);
        self.tidy(turn as Shard);
        self.tidy_observed(turn as Shard);
    }

    fn tidy(&mut self, shard: Shard) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let latest = now.before(self.settings.ledger_above * 2);
        held.blind_limits.retain(|_, until| *until > latest);
        let rules = self.history.current();
        held.unrecorded.retain(|limit, until| {
            let counts = rules.of(limit).map_or(Duration::ZERO, Rule::span);
            held.blind.min(*until) > latest.min(now.before(counts))
        });
        held.tidy_strays(now);
        let moment = held.moment(now);
        let mut leftovers = Vec::new();
        held.accounts.retain(|id, account| {
            account.window.prune(&account.rule, now);
            account.told.retain(|_, retry| *retry > now);
            account.takers.forget(&account.rule, now);
            if let Some(ledger) = &mut account.ledger {
                let idle = now.since(account.used_at) > account.rule.validity() + IDLE;
                if idle {
                    ledger.close();
                }
                if moment.is_some_and(|now| ledger.has_leftovers(&account.rule, now)) || ledger.carry() > 0 {
                    leftovers.push(*id);
                    return true;
                }
                return !idle || !ledger.is_idle();
            }
            !account.window.is_empty() || !account.wants.is_empty()
        });
        for id in leftovers {
            self.reserve(shard, id);
        }
    }

    /// Asks the store for what the account's ledger lacks.
    pub(super) fn reserve(&mut self, shard: Shard, id: AccountId) {
        let (now, op) = (self.now, self.next_operation());
        let Some(held) = self.held.get(&shard) else { return };
        let rule = held.accounts.get(&id).map(|account| account.rule);
        let kept = rule.map_or(0, |rule| self.kept_back_next(held, &rule));
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(now) = held.moment(now) else { return };
        let Some(account) = held.accounts.get_mut(&id) else {
            return;
        };
        let rule = account.rule;
        let demand = Demand {
            kept,
            ..account.demand()
        };
        let Some(ledger) = &mut account.ledger else { return };
        if let Some(request) = ledger.reserve(&rule, now, demand, op) {
            self.ask_row(id, request);
        }
    }

    fn ask_row(&mut self, id: AccountId, request: Request) {
        let key = CellKey::Row(id);
        self.outputs.push(match request {
            Request::Get => Output::Get(key),
            Request::Swap { expected, new } => Output::Swap {
                key,
                expected: expected.map(CellValue::Row),
                new: CellValue::Row(new),
            },
        });
    }

    pub(super) fn row(&mut self, id: AccountId, outcome: Outcome) {
        let shard = id.shard();
        let account = self.held.get_mut(&shard).and_then(|held| held.accounts.get_mut(&id));
        let Some(ledger) = account.and_then(|account| account.ledger.as_mut()) else {
            return;
        };
        if let Some(request) = ledger.outcome(outcome) {
            self.ask_row(id, request);
        }
        self.serve(shard, id);
        self.tell_earlier(shard, id);
    }

    /// A shard that is given up takes nothing along; nobody waits for the outcome.
    pub(super) fn put_back_rows(&mut self, held: &mut Held) {
        let Some(now) = held.moment(self.now) else { return };
        for (id, account) in &mut held.accounts {
            let Some(ledger) = &mut account.ledger else { continue };
            ledger.close();
            let op = self.next_operation();
            let nothing = Demand::default();
            if let Some(request @ Request::Swap { .. }) = ledger.reserve(&account.rule, now, nothing, op) {
                self.ask_row(*id, request);
            }
        }
    }
}

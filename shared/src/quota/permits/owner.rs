//! The owner's end, for one shard: how much each proxy may hold.
//!
//! Nothing is given to anybody until every proxy on the roster has said under this claim what it holds, or has left. Until
//! then they go on with what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use uuid::Uuid;

use super::fair::shares;
use super::{AGAIN, Level, Report};
use crate::change::Revision;
use crate::quota::Label;
use crate::quota::message::AccountId;

/// What is not answered is said again after so long.
const REPEAT: Duration = Duration::from_millis(100);
/// Those who have too much lose one in flight after the other; each is told, and one message may be lost. What was all in
/// use is asked for as often, where somebody waits.
const LOOK: Duration = Duration::from_millis(200);
/// For what was called back to come back, before it is said that there is no more.
const RECALL_TAKES: Duration = Duration::from_millis(40);
/// Where there is not one for each, others have their turn after so long.
const TURN: Duration = Duration::from_millis(500);
/// Levels that a proxy has not answered. While there are as many it is told no other.
const SENT_MAX: usize = 16;
/// Accounts that are looked at in one tick.
const ROUND_MAX: usize = 2_048;
/// What a proxy is given beyond what it wants, if there is enough.
const AHEAD: u64 = 4;

#[derive(Debug, Default)]
pub struct Ledger {
    /// Of whom it is not known what they hold; none: nor who there is.
    silent: Option<BTreeSet<Uuid>>,
    accounts: BTreeMap<AccountId, BTreeMap<Uuid, Share>>,
    /// Something is to be done about them, or waited for.
    restless: BTreeSet<AccountId>,
    /// Up to where they were looked at.
    cursor: Option<AccountId>,
}

/// What one proxy has of an account.
#[derive(Debug, Default)]
struct Share {
    /// As it reported last.
    number: u64,
    ceiling: u32,
    in_flight: u32,
    wanted: u32,
    is_idle: bool,
    heard: Label,
    /// Numbers and levels that are newer than what it reported.
    sent: Vec<(u64, u32)>,
    sent_at: Label,
    /// The last one, as far as it is known to be in force.
    last: (u64, u32),
    /// It wants to hear that there is no more, since then.
    asks: Option<Label>,
    /// It took up no more than it had: it goes by another form of the limit.
    refused: Label,
}

/// What a limit says now.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// 0: there is no such limit any more.
    pub most: u32,
    pub revision: Revision,
    pub epoch: u64,
}

/// The owner around it.
pub struct Around<'a> {
    pub now: Label,
    /// Of the last level, of whichever account.
    pub numbers: &'a mut u64,
    /// Whether a proxy was heard a moment ago.
    pub is_heard: &'a dyn Fn(&Uuid) -> bool,
    pub told: &'a mut Vec<(Uuid, Level)>,
}

impl Share {
    /// As many as it may have in flight, now or after a message that is on its way.
    fn counted(&self) -> u64 {
        let sent = self.sent.iter().map(|(_, level)| *level);
        sent.fold(self.ceiling, u32::max).into()
    }

    fn report(&mut self, report: &Report, now: Label) {
        if report.number < self.number {
            return;
        }
        let is_same = report.number == self.number;
        // Of two under one level the lower is the later one.
        self.ceiling = if is_same {
            self.ceiling.min(report.ceiling)
        } else {
            report.ceiling
        };
        self.number = report.number;
        self.sent.retain(|(number, _)| *number > report.number);
        (self.in_flight, self.wanted, self.is_idle) = (report.in_flight, report.wanted, report.is_idle);
        self.heard = now;
        if self.sent.is_empty() && self.ceiling < self.last.1 {
            self.last.1 = self.ceiling;
            self.refused = now;
        }
        if self.wanted > self.last.1 {
            self.asks = self.asks.or(Some(now));
        } else {
            self.asks = None;
        }
    }

    /// Whether what it has is what it was told to have.
    fn is_settled(&self) -> bool {
        self.sent.is_empty() && self.ceiling <= self.last.1
    }

    fn is_over(&self) -> bool {
        self.counted() == 0 && (self.wanted == 0 || self.is_idle)
    }
}

impl Ledger {
    /// Nobody held a claim on this shard before.
    pub fn begin(&mut self) {
        self.silent = Some(BTreeSet::new());
    }

    /// Who may hold something.
    pub fn roster(&mut self, members: BTreeSet<Uuid>) {
        if self.silent.is_none() {
            self.silent = Some(members);
        }
    }

    pub fn is_exact(&self) -> bool {
        self.silent.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn is_silent(&self, instance: &Uuid) -> bool {
        self.silent.as_ref().is_none_or(|silent| silent.contains(instance))
    }

    /// Whether anybody has, or wants, anything.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// All that a proxy holds, in answer to the question of this claim. It counts once.
    pub fn counted(&mut self, instance: Uuid, reports: &[Report], now: Label) {
        if !self.silent.as_mut().is_some_and(|silent| silent.remove(&instance)) {
            return;
        }
        for report in reports {
            let shares = self.accounts.entry(report.account).or_default();
            let mut share = Share {
                ceiling: report.ceiling,
                last: (0, report.ceiling),
                ..Share::default()
            };
            share.report(&Report { number: 0, ..*report }, now);
            shares.insert(instance, share);
        }
        self.look_at_all();
    }

    /// Nothing of it goes on: it said goodbye, began a new life, or is not on the roster any more.
    pub fn ended(&mut self, instance: &Uuid) {
        if let Some(silent) = &mut self.silent {
            silent.remove(instance);
        }
        for (account, shares) in &mut self.accounts {
            if shares.remove(instance).is_some() {
                self.restless.insert(*account);
            }
        }
        if self.is_exact() {
            self.look_at_all();
        }
    }

    /// A newer life of a proxy: the one before is over, and whoever asks the new one what it holds gets its answer.
    pub fn began_anew(&mut self, instance: &Uuid) {
        for (account, shares) in &mut self.accounts {
            if shares.remove(instance).is_some() {
                self.restless.insert(*account);
            }
        }
    }

    /// Limits have changed.
    pub fn look_at_all(&mut self) {
        self.restless.extend(self.accounts.keys().copied());
    }

    pub fn report(&mut self, instance: Uuid, report: &Report, accounts_max: usize, now: Label) {
        if self.is_silent(&instance) {
            return;
        }
        let is_known = self.accounts.contains_key(&report.account);
        if !is_known && report.ceiling == 0 && (report.wanted == 0 || self.accounts.len() >= accounts_max) {
            return;
        }
        let shares = self.accounts.entry(report.account).or_default();
        let share = shares.entry(instance).or_insert_with(|| Share {
            ceiling: report.ceiling,
            number: report.number,
            last: (report.number, report.ceiling),
            ..Share::default()
        });
        share.report(report, now);
        self.restless.insert(report.account);
    }

    /// The next ones that something is due about.
    pub fn restless(&mut self) -> Vec<AccountId> {
        let after = |last| (Bound::Excluded(last), Bound::Unbounded);
        let rest = self.cursor.map(|last| self.restless.range(after(last)));
        let next = rest.into_iter().flatten().chain(&self.restless);
        let count = self.restless.len().min(ROUND_MAX);
        let next: Vec<AccountId> = next.take(count).copied().collect();
        self.cursor = next.last().copied();
        next
    }

    /// As many as are in flight, as far as that was reported.
    pub fn in_flight(&self, account: &AccountId) -> u64 {
        let shares = self.accounts.get(account).into_iter().flat_map(BTreeMap::values);
        shares.map(|share| u64::from(share.in_flight)).sum()
    }

    /// Asks all who hold something what of it is in flight.
    pub fn ask(&mut self, account: &AccountId, terms: Terms, around: &mut Around<'_>) {
        let shares = self.accounts.get_mut(account).into_iter().flatten();
        for (instance, share) in shares.filter(|(_, share)| share.counted() > 0) {
            share.repeat(*instance, *account, terms, around);
        }
    }

    /// Gives, and calls back, what there is to be given.
    pub fn serve(&mut self, account: AccountId, terms: Terms, around: &mut Around<'_>) {
        let is_exact = self.is_exact();
        let Some(all) = self.accounts.get_mut(&account) else {
            self.restless.remove(&account);
            return;
        };
        all.retain(|_, share| !share.is_over());
        if all.is_empty() {
            self.accounts.remove(&account);
            self.restless.remove(&account);
            return;
        }
        if !is_exact {
            // Who knows what the silent do with what another gives back.
            return;
        }
        let mut round = Round::new(account, terms, all, around);
        round.raise(all, around);
        round.call_back(all, around);
        round.answer(all, around);
        if !round.is_restless {
            self.restless.remove(&account);
        }
    }
}

/// One look at an account.
struct Round {
    account: AccountId,
    terms: Terms,
    /// What each should have, if it was heard a moment ago.
    targets: BTreeMap<Uuid, u64>,
    free: u64,
    /// Beyond what all want.
    left: u64,
    /// More is out than the limit permits now.
    is_beyond: bool,
    /// Somebody wants more than it has; and somebody has less than it should.
    is_asked: bool,
    is_short: bool,
    /// Something that was called back, or asked for, is still to come.
    is_coming: bool,
    is_restless: bool,
}

impl Round {
    fn new(account: AccountId, terms: Terms, all: &BTreeMap<Uuid, Share>, around: &Around<'_>) -> Round {
        let most = u64::from(terms.most);
        let deaf = |(instance, _): &(&Uuid, &Share)| !(around.is_heard)(instance);
        let kept: u64 = all.iter().filter(deaf).map(|(_, share)| share.counted()).sum();
        let heard: Vec<(&Uuid, &Share)> = all.iter().filter(|of| !deaf(of)).collect();
        let wanted: Vec<u64> = heard.iter().map(|(_, share)| share.wanted.into()).collect();
        let turn = (around.now.as_nanos() / TURN.as_nanos() as u64) as usize;
        let capacity = most.saturating_sub(kept);
        let fair = shares(capacity, &wanted, turn);
        let counted: u64 = all.values().map(Share::counted).sum();
        Round {
            account,
            terms,
            left: capacity - fair.iter().sum::<u64>(),
            targets: heard.iter().map(|(instance, _)| **instance).zip(fair).collect(),
            free: most.saturating_sub(counted),
            is_beyond: counted > most,
            is_asked: heard.iter().any(|(_, share)| share.wanted > share.last.1),
            is_short: false,
            is_coming: false,
            is_restless: false,
        }
    }

    /// First what they want, then, of what nobody does, some more.
    fn raise(&mut self, all: &mut BTreeMap<Uuid, Share>, around: &mut Around<'_>) {
        let hungry = |share: &Share, target: u64| u64::from(share.last.1) < target && !share.is_idle;
        let count = all.len() as u64;
        for (instance, target) in &self.targets {
            let Some(share) = all.get_mut(instance).filter(|share| hungry(share, *target)) else {
                continue;
            };
            self.is_restless = true;
            if self.is_beyond || around.now.since(share.refused) < AGAIN {
                continue;
            }
            let ahead = (*target).max(AHEAD).min(self.left / (2 * count));
            let counted = share.counted();
            let level = (target + ahead).min(counted + self.free);
            if level > share.last.1.into() && share.send(*instance, self.account, level, self.terms, around) {
                self.free -= level.saturating_sub(counted);
            }
            self.is_short |= u64::from(share.last.1) < *target;
        }
    }

    /// From those who have more than they should, if somebody has less; and from those who do nothing with it.
    fn call_back(&mut self, all: &mut BTreeMap<Uuid, Share>, around: &mut Around<'_>) {
        for (instance, share) in all {
            let Some(target) = self.targets.get(instance).copied() else {
                continue;
            };
            let is_surplus = match self.is_beyond {
                true => share.last.1 > 0,
                false => self.is_short && u64::from(share.last.1) > target,
            };
            if is_surplus || (share.is_idle && share.last.1 > 0) {
                // Beyond the limit nothing may be added to what is in flight elsewhere.
                let level = if share.is_idle || self.is_beyond { 0 } else { target };
                share.send(*instance, self.account, level, self.terms, around);
            }
            let since = around.now.since(share.sent_at);
            let is_due = match share.is_settled() {
                true if share.in_flight < share.ceiling => self.is_asked && since >= REPEAT,
                true => self.is_asked && share.ceiling > 0 && since >= LOOK,
                false if share.sent.is_empty() => since >= LOOK,
                false => since >= REPEAT,
            };
            if is_due {
                share.repeat(*instance, self.account, self.terms, around);
            }
            self.is_coming |= share.heard < share.sent_at;
            self.is_restless |= !share.is_settled();
        }
        self.is_restless |= self.is_asked || self.is_beyond;
    }

    /// Who wants more, and cannot have it, hears so.
    fn answer(&mut self, all: &mut BTreeMap<Uuid, Share>, around: &mut Around<'_>) {
        for (instance, share) in all {
            let Some(asks) = share.asks else { continue };
            self.is_restless = true;
            let is_coming = self.is_coming && around.now.since(asks) < RECALL_TAKES;
            let is_waited_for = is_coming || around.now.since(share.refused) < AGAIN;
            if !share.sent.is_empty() || is_waited_for || u64::from(share.wanted) <= share.last.1.into() {
                continue;
            }
            share.asks = None;
            around.told.push((
                *instance,
                Level {
                    is_all: true,
                    answer: false,
                    ..share.level(self.account, self.terms)
                },
            ));
        }
    }
}

impl Share {
    fn level(&self, account: AccountId, terms: Terms) -> Level {
        Level {
            account,
            epoch: terms.epoch,
            revision: terms.revision,
            number: self.last.0,
            level: self.last.1,
            answer: true,
            is_all: false,
        }
    }

    /// Whether it could be sent.
    fn send(&mut self, instance: Uuid, account: AccountId, level: u64, terms: Terms, around: &mut Around<'_>) -> bool {
        if self.sent.len() >= SENT_MAX {
            return false;
        }
        *around.numbers += 1;
        self.last = (*around.numbers, u32::try_from(level).unwrap_or(u32::MAX));
        self.sent.push(self.last);
        self.sent_at = around.now;
        around.told.push((instance, self.level(account, terms)));
        true
    }

    fn repeat(&mut self, instance: Uuid, account: AccountId, terms: Terms, around: &mut Around<'_>) {
        self.sent_at = around.now;
        around.told.push((instance, self.level(account, terms)));
    }
}

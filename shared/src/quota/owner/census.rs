//! What a successor has to know before it may grant: a hand-over, or what every proxy spent.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::account::Account;
use super::claim::{Held, nanos};
use super::silence::Silence;
use super::standby::Holder;
use super::testament::Will;
use super::{Departure, Owner, Roster};
use crate::change::Revision;
use crate::quota::message::{AccountId, Handover, Inherited, Oldest, ProxyId, Shard, Told, Use};
use crate::quota::permits::Report;
use crate::quota::{Algorithm, DELTA, Label, Rule, shrink, stretch};

/// The longest period of a limit.
const STRAYS_COUNT: Duration = Duration::from_secs(31 * 86_400);
/// Between two questions to a proxy that does not answer the census.
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub struct Census {
    asked: Option<Label>,
    /// Whatever is told was told after this.
    first_asked: Label,
    /// None: the roster is not read yet.
    waiting: Option<BTreeSet<Uuid>>,
    /// Of what was spent before this, those who answered know nothing.
    unknown_before: Label,
    /// Who left not long ago, and knows what it spent.
    left: Vec<Departure>,
    /// What may be among the charges of a testament, and is charged once it is known which.
    spent: Vec<Spent>,
    /// The last testament that anyone was told.
    will: Option<Will>,
    /// Of the limits that the first of the testaments goes by, and when the last life was over that any is about.
    formers: Option<(Revision, Label)>,
}

/// What another owner granted.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub account: AccountId,
    pub tokens: u64,
    /// The bucket, and its length in nanoseconds.
    pub bucket: (u64, u64),
    /// The last of it.
    pub until: Label,
}

pub struct Answer {
    pub knows: Option<Label>,
    pub began: Option<Label>,
    pub earliest: Option<Label>,
    pub oldest: Option<Oldest>,
    pub uses: Vec<Use>,
    pub weight: u64,
    pub permits: Vec<Report>,
    pub inherited: Option<Inherited>,
}

impl Census {
    /// Whether what a proxy was told of its former lives makes up for what it does not know of them.
    fn inherit(&mut self, instance: Uuid, will: Will, knows: Label) -> bool {
        if will.since >= knows {
            return false;
        }
        // It said goodbye before it began anew.
        self.left
            .retain(|departure| departure.instance != instance || !departure.goodbye);
        let (revision, over) = self.formers.unwrap_or((will.revision, knows));
        self.formers = Some((revision.min(will.revision), over.max(knows)));
        if self.will.as_ref().is_none_or(|other| other.order() < will.order()) {
            self.will = Some(will);
        }
        true
    }
}

impl Held {
    pub fn tidy_strays(&mut self, now: Label) {
        self.strays.retain(|spent| now < spent.until.after(STRAYS_COUNT));
    }
}

impl Owner {
    /// What the predecessor charged is all that was ever granted.
    pub(super) fn handed_over(&mut self, handover: Handover) {
        // What the store counts by an edit that has not come here is in no hand-over.
        let is_ahead = handover.revision > self.history.current().revision;
        let held = self.held.get_mut(&handover.shard);
        let Some(held) = held.filter(|held| held.claim.is_some() && !is_ahead) else {
            self.handovers.insert(handover.shard, handover);
            return;
        };
        let is_predecessor = held.predecessor.is_some_and(|claim| claim.epoch == handover.epoch);
        if held.handed || !is_predecessor || held.blind == Label::ZERO {
            return;
        }
        held.handed = true;
        let over = std::mem::take(&mut held.blind);
        // The two owners' times may differ.
        held.vouched = handover.vouched.unwrap_or(Label::ZERO).before(2 * DELTA);
        self.distrust_edited(handover.shard, handover.revision, over);
        for charge in handover.charges {
            let end = self.now.before(shrink(charge.age)).after(stretch(charge.ahead));
            self.import(Spent {
                account: charge.account,
                tokens: charge.tokens,
                bucket: charge.bucket,
                until: end,
            });
        }
    }

    /// Those that waited for the limits that they go by.
    pub(super) fn look_at_handovers(&mut self) {
        for handover in std::mem::take(&mut self.handovers).into_values() {
            self.handed_over(handover);
        }
    }

    pub(super) fn roster(&mut self, shard: Shard, roster: &Roster) {
        let now = self.now;
        let forget = stretch(self.settings.forget_after) + self.history.standby_counts();
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(census) = held.census.as_mut().filter(|census| census.waiting.is_none()) else {
            return;
        };
        let counts = stretch(self.settings.ledger_above) + 2 * self.settings.claim + held.skip.by();
        // They are told by the wall clock, which label time may be ahead of.
        let left = roster.left.iter().map(|departure| Departure {
            at: departure.at.after(self.ahead),
            ..departure.clone()
        });
        for departure in left {
            if now.since(departure.at) < counts {
                census.left.push(departure.clone());
            }
            let silence = match departure.goodbye {
                true => Silence::over(departure.at.after(2 * DELTA).after(held.skip.by())),
                false => Silence::going_on(departure.at.after(forget).after(held.skip.by())),
            };
            held.silent.insert(departure.instance, silence);
        }
        for member in &roster.members {
            held.silent.insert(*member, Silence::going_on(now.after(forget)));
        }
        census.waiting = Some(roster.members.clone());
        held.permits.roster(roster.members.clone());
        self.replace_members(&roster.members | &self.members);
        self.settle(shard);
        self.ask_census(shard);
    }

    pub(super) fn ask_census(&mut self, shard: Shard) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(epoch) = held.epoch() else { return };
        let Some(census) = &mut held.census else { return };
        if now.since(held.blind) > self.settings.ledger_above * 2 && held.unrecorded.is_empty() {
            // Whoever does not answer is waited for on, and nothing of that counts any more.
            (census.spent, census.will) = (Vec::new(), None);
        }
        let Some(waiting) = &census.waiting else { return };
        if census.asked.is_some_and(|asked| now.since(asked) < ASK_EVERY) {
            return;
        }
        if census.asked.is_none() {
            census.first_asked = now;
        }
        census.asked = Some(now);
        for instance in waiting.clone() {
            self.tell(instance, Told::Census { shard, epoch });
        }
    }

    pub(super) fn counted(&mut self, from: ProxyId, shard: Shard, epoch: u64, answer: Answer) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard).filter(|held| held.epoch() == Some(epoch)) else {
            return;
        };
        held.permits.counted(from.instance, &answer.permits, now);
        if held.break_silence(&from.instance, answer.began) {
            held.holders.insert(from.instance, Holder::found(answer.weight));
        }
        let handed = held.handed;
        let Some(census) = &mut held.census else { return };
        let Some(waiting) = &mut census.waiting else { return };
        if !waiting.remove(&from.instance) {
            return;
        }
        let knows = answer.knows.unwrap_or(Label::ZERO);
        let inherited = answer.inherited;
        let inherited = inherited.filter(|of| of.testament.shard == shard && of.testament.epoch < epoch);
        let will = inherited.map(|inherited| Will::told(inherited, census.first_asked, now));
        if !will.is_some_and(|will| census.inherit(from.instance, will, knows)) {
            census.unknown_before = census.unknown_before.max(knows);
        }
        // Standby is charged by nobody, so no hand-over tells of it.
        let told = answer.uses.into_iter();
        let told = told.filter(|used| !handed || used.bucket == Use::STANDBY);
        let spent = told.map(|used| Spent {
            account: used.account,
            tokens: used.tokens,
            bucket: used.bucket,
            until: now.before(shrink(used.age)),
        });
        // What is counted here waits for the rest: as long as it counts, nobody is granted anything.
        let (rules, ledger_above) = (self.history.current(), self.settings.ledger_above);
        let is_counted_here = |spent: &Spent| {
            let rule = rules
                .of(&spent.account.limit)
                .filter(|rule| rule.period <= ledger_above);
            rule.is_some_and(|rule| spent.bucket.1 == nanos(rule.bucket()))
        };
        let (later, at_once): (Vec<Spent>, Vec<Spent>) = spent.partition(is_counted_here);
        census.spent.extend(later);
        held.hear_skip(answer.earliest, answer.oldest, now);
        at_once.into_iter().for_each(|spent| self.import(spent));
        self.settle(shard);
    }

    /// Once all have answered, what they spent is all that was spent.
    fn settle(&mut self, shard: Shard) {
        let Some(held) = self.held.get_mut(&shard) else { return };
        let is_over = |census: &&mut Census| census.waiting.as_ref().is_some_and(BTreeSet::is_empty);
        let Some(census) = held.census.take_if(|census| is_over(&census)) else {
            return;
        };
        held.settle_skip();
        let skipped = held.skip.by();
        let left = census.left.iter().map(|departure| match departure.goodbye {
            true => departure.at.after(2 * DELTA).after(skipped),
            false => held.blind,
        });
        let unknown = left.fold(census.unknown_before, Label::max);
        let since = census.will.as_ref().map_or(Label::ZERO, |will| will.since);
        held.blind = held.blind.min(unknown.max(since));
        let (epoch, will) = (held.epoch().unwrap_or(0), census.will);
        if held.handed {
            return;
        }
        if let Some((revision, over)) = census.formers {
            self.distrust_edited(shard, revision, over);
        }
        let is_told_twice = |spent: &Spent| will.as_ref().is_some_and(|will| will.holds(spent, epoch));
        let spent = census.spent.into_iter().filter(|spent| !is_told_twice(spent));
        spent.for_each(|spent| self.import(spent));
        let charges = will.into_iter().flat_map(|will| will.charges);
        charges.for_each(|spent| self.import(spent));
    }

    /// Of a limit that was edited since, the store may have counted what its proxies were granted until then: who told what was
    /// charged had nothing to tell of it.
    fn distrust_edited(&mut self, shard: Shard, since: Revision, until: Label) {
        let Some(held) = self.held.get_mut(&shard) else { return };
        let current = self.history.current();
        if since >= current.revision {
            return;
        }
        // Those that were deleted may be made again.
        held.edited_since = Some((since, until));
        let counted_here = |rule: &&Rule| rule.period <= self.settings.ledger_above;
        let rules = current.rules.values().filter(counted_here);
        for rule in rules.filter(|rule| rule.revision > since) {
            let blind = held.blind_limits.entry(rule.limit).or_default();
            *blind = until.max(*blind);
        }
    }

    pub(super) fn distrust_new_edits(&mut self) {
        let latest = self.now.before(stretch(self.settings.ledger_above) * 2);
        for held in self.held.values_mut() {
            held.edited_since = held.edited_since.filter(|(_, until)| *until > latest);
        }
        let edited = self.held.iter();
        let edited = edited.filter_map(|(shard, held)| held.edited_since.map(|edited| (*shard, edited)));
        for (shard, (since, until)) in edited.collect::<Vec<_>>() {
            self.distrust_edited(shard, since, until);
        }
    }

    /// Limits that were deleted when it was heard what was spent of them may be there again.
    pub(super) fn import_strays(&mut self) {
        let strays: Vec<Spent> = self
            .held
            .values_mut()
            .flat_map(|held| std::mem::take(&mut held.strays))
            .collect();
        strays.into_iter().for_each(|spent| self.import(spent));
    }

    /// Charges what was admitted at `until` or before, for another owner's bucket of some length.
    fn import(&mut self, spent: Spent) {
        let now = self.now;
        let Spent {
            account,
            tokens,
            bucket,
            until,
        } = spent;
        let (ledger_above, accounts_max) = (self.settings.ledger_above, self.settings.accounts_max);
        let rule = self.history.current().of(&account.limit).copied();
        let Some(held) = self.held.get_mut(&account.shard()) else {
            return;
        };
        let Some(rule) = rule else {
            match held.strays.len() < accounts_max {
                true => held.strays.push(spent),
                false => drop(held.blind_limits.insert(account.limit, now.max(until))),
            }
            return;
        };
        let of = held
            .accounts
            .entry(account)
            .or_insert_with(|| Account::new(rule, ledger_above));
        let alike = bucket.1 == nanos(rule.bucket());
        match (&mut of.ledger, rule.algorithm) {
            (Some(ledger), _) if !alike => ledger.add_carry(tokens),
            (Some(_), _) => {}
            (None, Algorithm::Fixed) if alike => of.window.charge(bucket.0, tokens),
            (None, Algorithm::Fixed) => {
                let (first, last) = (rule.bucket_of(until), rule.bucket_of(until.max(now)));
                (first..=last).for_each(|bucket| of.window.charge(bucket, tokens));
            }
            (None, Algorithm::Sliding) => of.window.charge(rule.bucket_of(until), tokens),
        }
    }
}

//! Claims on shards, and what a successor has to know before it may grant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::account::Account;
use super::skip::Skip;
use super::standby::{Ghost, Holder};
use super::{Departure, Output, Owner, Roster};
use crate::quota::cell::{CellKey, CellValue, Claim, Outcome};
use crate::quota::message::{AccountId, Charge, Handover, ProxyId, SHARDS, Shard, Told, Use};
use crate::quota::{Algorithm, DELTA, Label, shrink, stretch};

/// Between two tries for a claim that was lost or not to be had.
const RETRY: Duration = Duration::from_millis(100);
/// The longest period of a limit.
const STRAYS_COUNT: Duration = Duration::from_secs(31 * 86_400);
/// Between two questions to a proxy that does not answer the census.
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub struct Held {
    /// Once the store has said so.
    pub claim: Option<Claim>,
    flight: Option<Flight>,
    reading: bool,
    retry_at: Label,
    predecessor: Option<Claim>,
    /// What was granted or admitted before this is not known, and counts as all that there was.
    pub blind: Label,
    pub skip: Skip,
    /// Of single limits, which were counted otherwise before.
    pub blind_limits: BTreeMap<Uuid, Label>,
    census: Option<Census>,
    handed: bool,
    /// What was spent of limits that are deleted, as far as they may be made again before it counts no more.
    strays: Vec<Spent>,
    pub accounts: BTreeMap<AccountId, Account>,
    /// Those of them that someone wants tokens of.
    pub waiting: BTreeSet<AccountId>,
    pub holders: BTreeMap<Uuid, Holder>,
    pub ghosts: Vec<Ghost>,
    /// Who may hold a standby that is not known.
    pub silent: BTreeMap<Uuid, Label>,
}

#[derive(Debug)]
struct Flight {
    expected: Option<Claim>,
    new: Claim,
    /// It may have been swapped already.
    doubtful: bool,
}

#[derive(Debug, Default)]
struct Census {
    asked: Option<Label>,
    /// None: the roster is not read yet.
    waiting: Option<BTreeSet<Uuid>>,
    /// Of what was spent before this, those who answered know nothing.
    unknown_before: Label,
    /// Who left not long ago, and knows what it spent.
    left: Vec<Departure>,
}

/// What another owner granted.
#[derive(Clone, Copy, Debug)]
struct Spent {
    account: AccountId,
    tokens: u64,
    /// The bucket, and its length in nanoseconds.
    bucket: (u64, u64),
    /// The last of it.
    until: Label,
}

pub struct Answer {
    pub knows: Option<Label>,
    pub earliest: Option<Label>,
    pub oldest: Option<Label>,
    pub uses: Vec<Use>,
    pub weight: u64,
}

impl Held {
    pub fn epoch(&self) -> Option<u64> {
        self.claim.map(|claim| claim.epoch)
    }

    pub fn tidy_strays(&mut self, now: Label) {
        self.strays.retain(|spent| now < spent.until.after(STRAYS_COUNT));
    }

    /// Whether what can be granted now is all that there is to be granted.
    pub fn is_exact(&self, now: Label) -> bool {
        self.census.is_none() || self.blind < now
    }
}

impl Owner {
    pub(super) fn want_shards(&mut self, wanted: u64) {
        self.wanted = wanted;
        let unwanted: Vec<Shard> = self
            .held
            .keys()
            .filter(|shard| wanted >> **shard & 1 == 0)
            .copied()
            .collect();
        unwanted.into_iter().for_each(|shard| self.give_up(shard));
    }

    pub(super) fn tick_claims(&mut self) {
        for shard in (0..SHARDS)
            .filter(|shard| self.wanted >> shard & 1 == 1)
            .collect::<Vec<_>>()
        {
            let now = self.now;
            let held = self.held.entry(shard).or_default();
            if held.flight.is_some() || held.reading || now < held.retry_at {
                continue;
            }
            match held.claim {
                None => {
                    held.reading = true;
                    self.outputs.push(Output::Get(CellKey::Claim(shard)));
                }
                Some(claim) if now.after(self.settings.claim / 2) > claim.to => {
                    let to = now.after(self.settings.claim);
                    let from = now.before(held.skip.all());
                    self.swap_claim(shard, Some(claim), Claim { from, to, ..claim });
                }
                Some(_) => {
                    if held.is_skip_overdue(now) {
                        held.settle_skip();
                    }
                    self.ask_census(shard);
                }
            }
        }
    }

    fn swap_claim(&mut self, shard: Shard, expected: Option<Claim>, new: Claim) {
        let Some(held) = self.held.get_mut(&shard) else { return };
        let doubtful = held.flight.as_ref().is_some_and(|flight| flight.doubtful);
        held.flight = Some(Flight {
            expected,
            new,
            doubtful,
        });
        self.outputs.push(Output::Swap {
            key: CellKey::Claim(shard),
            expected: expected.map(CellValue::Claim),
            new: CellValue::Claim(new),
        });
    }

    pub(super) fn cell(&mut self, key: CellKey, outcome: Outcome) {
        match key {
            CellKey::Row(account) => self.row(account, outcome),
            CellKey::Claim(shard) => self.claim_cell(shard, outcome),
        }
    }

    fn claim_cell(&mut self, shard: Shard, outcome: Outcome) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let was_reading = std::mem::take(&mut held.reading);
        let Some(flight) = &mut held.flight else {
            match outcome {
                Outcome::Is(value) if was_reading => self.try_claim(shard, as_claim(value)),
                _ => held.retry_at = now.after(RETRY),
            }
            return;
        };
        match outcome {
            Outcome::Swapped => self.claimed(shard),
            Outcome::Is(value) | Outcome::Differs(value) => {
                let found = as_claim(value);
                let (expected, new) = (flight.expected, flight.new);
                if found == Some(new) {
                    self.claimed(shard);
                } else if found == expected {
                    self.swap_claim(shard, expected, new);
                } else {
                    self.lost(shard);
                }
            }
            Outcome::Unavailable if !flight.doubtful => {
                held.flight = None;
                held.retry_at = now.after(RETRY);
            }
            Outcome::Unknown | Outcome::Unavailable => {
                flight.doubtful = true;
                self.outputs.push(Output::Get(CellKey::Claim(shard)));
            }
        }
    }

    fn try_claim(&mut self, shard: Shard, found: Option<Claim>) {
        // Its owner's label time had come so far when it claimed that.
        let reached = found.map_or(Label::ZERO, |claim| claim.to.before(self.settings.claim));
        if reached > self.now.after(DELTA) {
            self.resign(reached);
            return;
        }
        if self.is_astray() {
            return;
        }
        // Not before the predecessor's: what that one granted may be valid so long, and whoever comes next may hear of this
        // claim only.
        let to = found
            .map_or(Label::ZERO, |claim| claim.to)
            .max(self.now.after(self.settings.claim));
        let skip = Skip::since(found.as_ref(), self.now, self.settings.claim);
        let new = Claim {
            epoch: found.map_or(0, |claim| claim.epoch) + 1,
            owner: self.incarnation,
            from: to.before(self.settings.claim).before(skip.all()),
            to,
        };
        self.swap_claim(shard, found, new);
    }

    fn claimed(&mut self, shard: Shard) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(flight) = held.flight.take() else { return };
        let is_new = held.claim.is_none();
        held.claim = Some(flight.new);
        if !is_new {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.beat_at = Label::ZERO;
        }
        held.skip = Skip::since(flight.expected.as_ref(), now, self.settings.claim);
        let Some(predecessor) = flight.expected else { return };
        held.predecessor = Some(predecessor);
        // The clocks of proxies and of both owners may each have been a little off since they were last compared.
        let margin = 2 * DELTA + (stretch(self.settings.claim) - self.settings.claim) * 2;
        held.blind = predecessor.to.after(margin).after(held.skip.by());
        held.census = Some(Census::default());
        self.outputs.push(Output::ReadRoster(shard));
        if let Some(handover) = self.handovers.remove(&shard) {
            self.handed_over(handover);
        }
    }

    /// Another has it. What was charged here, it can go by.
    fn lost(&mut self, shard: Shard) {
        self.give_up(shard);
        let held = self.held.entry(shard).or_default();
        held.retry_at = self.now.after(RETRY);
    }

    fn give_up(&mut self, shard: Shard) {
        let now = self.now;
        let Some(mut held) = self.held.remove(&shard) else {
            return;
        };
        let Some(claim) = held.claim else { return };
        self.put_back_rows(&mut held);
        let blind = held.blind.after(stretch(self.settings.ledger_above)) > now;
        if blind || !held.blind_limits.is_empty() {
            return;
        }
        let charges = held.accounts.iter().flat_map(|(account, of)| {
            of.window.charges().map(move |(bucket, tokens)| Charge {
                account: *account,
                tokens,
                bucket: (bucket, nanos(of.rule.bucket())),
                age: now.since(of.rule.end(bucket)),
                ahead: of.rule.end(bucket).since(now),
            })
        });
        self.outputs.push(Output::Handover(Handover {
            shard,
            epoch: claim.epoch,
            charges: charges.collect(),
        }));
    }

    /// What the predecessor charged is all that was ever granted.
    pub(super) fn handed_over(&mut self, handover: Handover) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&handover.shard).filter(|held| held.claim.is_some()) else {
            self.handovers.insert(handover.shard, handover);
            return;
        };
        let is_predecessor = held.predecessor.is_some_and(|claim| claim.epoch == handover.epoch);
        if held.handed || !is_predecessor || held.blind == Label::ZERO {
            return;
        }
        held.handed = true;
        held.blind = Label::ZERO;
        for charge in handover.charges {
            let end = now.before(shrink(charge.age)).after(stretch(charge.ahead));
            self.import(Spent {
                account: charge.account,
                tokens: charge.tokens,
                bucket: charge.bucket,
                until: end,
            });
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
        for departure in &roster.left {
            if now.since(departure.at) < counts {
                census.left.push(departure.clone());
            }
            if !departure.goodbye {
                let until = departure.at.after(forget).after(held.skip.by());
                held.silent.insert(departure.instance, until);
            }
        }
        for member in &roster.members {
            held.silent.insert(*member, now.after(forget));
        }
        census.waiting = Some(roster.members.clone());
        self.replace_members(&roster.members | &self.members);
        self.settle(shard);
        self.ask_census(shard);
    }

    fn ask_census(&mut self, shard: Shard) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(epoch) = held.epoch() else { return };
        let Some(census) = &mut held.census else { return };
        let Some(waiting) = &census.waiting else { return };
        if census.asked.is_some_and(|asked| now.since(asked) < ASK_EVERY) {
            return;
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
        if held.silent.remove(&from.instance).is_some() {
            held.holders.insert(from.instance, Holder::found(answer.weight));
        }
        let handed = held.handed;
        let Some(census) = &mut held.census else { return };
        let Some(waiting) = &mut census.waiting else { return };
        if !waiting.remove(&from.instance) {
            return;
        }
        census.unknown_before = census.unknown_before.max(answer.knows.unwrap_or(Label::ZERO));
        held.hear_skip(answer.earliest, answer.oldest, now);
        // Standby is charged by nobody, so no hand-over tells of it.
        for used in answer
            .uses
            .into_iter()
            .filter(|used| !handed || used.bucket == Use::STANDBY)
        {
            self.import(Spent {
                account: used.account,
                tokens: used.tokens,
                bucket: used.bucket,
                until: now.before(shrink(used.age)),
            });
        }
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
        held.blind = held.blind.min(unknown);
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

fn as_claim(value: Option<CellValue>) -> Option<Claim> {
    match value {
        Some(CellValue::Claim(claim)) => Some(claim),
        _ => None,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

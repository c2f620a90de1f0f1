//! Claims on shards, and what a successor has to know before it may grant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::account::Account;
use super::census::{Census, Spent};
use super::observe::Observed;
use super::silence::Silence;
use super::skip::Skip;
use super::standby::{Ghost, Holder};
use super::{Output, Owner};
use crate::change::Revision;
use crate::quota::cell::{CellKey, CellValue, Claim, Outcome};
use crate::quota::message::{AccountId, Charge, Handover, SHARDS, Shard};
use crate::quota::permits::owner::Ledger as Permits;
use crate::quota::{DELTA, Label, stretch};

/// Between two tries for a claim that was lost or not to be had.
const RETRY: Duration = Duration::from_millis(100);
#[derive(Debug, Default)]
pub struct Held {
    /// Once the store has said so.
    pub claim: Option<Claim>,
    flight: Option<Flight>,
    reading: bool,
    retry_at: Label,
    pub predecessor: Option<Claim>,
    /// What was granted or admitted before this is not known, and counts as all that there was.
    pub blind: Label,
    pub skip: Skip,
    /// Of single limits, which were counted otherwise before.
    pub blind_limits: BTreeMap<Uuid, Label>,
    /// Limits that the store counts now, and did not when it was not known yet what was spent of them. Until when they may have
    /// been spent as they were.
    pub unrecorded: BTreeMap<Uuid, Label>,
    pub census: Option<Census>,
    /// What is known of a predecessor's charges goes by limits of that revision; by others they were spent until then.
    pub edited_since: Option<(Revision, Label)>,
    pub handed: bool,
    /// What was spent of limits that are deleted, as far as they may be made again before it counts no more.
    pub strays: Vec<Spent>,
    pub accounts: BTreeMap<AccountId, Account>,
    /// Those of them that someone wants tokens of.
    pub waiting: BTreeSet<AccountId>,
    pub observed: BTreeMap<AccountId, Observed>,
    pub holders: BTreeMap<Uuid, Holder>,
    pub ghosts: Vec<Ghost>,
    /// Who may hold a standby that is not known.
    pub silent: BTreeMap<Uuid, Silence>,
    /// Nothing that was used of a standby before this counts.
    pub vouched: Label,
    pub permits: Permits,
}

#[derive(Debug)]
struct Flight {
    expected: Option<Claim>,
    new: Claim,
    /// It may have been swapped already.
    doubtful: bool,
}

impl Held {
    pub fn epoch(&self) -> Option<u64> {
        self.claim.map(|claim| claim.epoch)
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
                Some(claim) if now.after(self.settings.claim * 3 / 4) > claim.to => {
                    let new = Claim {
                        from: now.before(held.skip.all()),
                        to: now.after(self.settings.claim),
                        recorded: self.recorded(shard).or(claim.recorded),
                        ..claim
                    };
                    self.swap_claim(shard, Some(claim), new);
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
            recorded: match &found {
                Some(claim) => claim.recorded,
                None => Some(self.history.current().revision),
            },
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
        let Some(predecessor) = flight.expected else {
            held.permits.begin();
            return;
        };
        held.predecessor = Some(predecessor);
        // The clocks of proxies and of both owners may each have been a little off since they were last compared.
        let margin = 2 * DELTA + (stretch(self.settings.claim) - self.settings.claim) * 2;
        held.blind = predecessor.to.after(margin).after(held.skip.by());
        if let Some(recorded) = predecessor.recorded {
            // By another form of these it may have granted what it had no time to tell the store of.
            let rules = self.history.current().rules.values();
            let edited = rules.filter(|rule| rule.revision > recorded);
            let until = now.after(self.settings.ledger_above);
            held.unrecorded.extend(edited.map(|rule| (rule.limit, until)));
        }
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

    /// The edits up to which all is. None: not all is.
    fn recorded(&self, shard: Shard) -> Option<Revision> {
        let held = self.held.get(&shard)?;
        let is_whole = held.census.is_none() && self.is_all_recorded(held);
        is_whole.then(|| self.history.current().revision)
    }

    /// Whether all that was spent is known here or in the store. What is in neither, only the proxies can tell.
    pub(super) fn is_all_recorded(&self, held: &Held) -> bool {
        let mut ledgers = held.accounts.values().filter_map(|account| account.ledger.as_ref());
        let is_owed = ledgers.any(|ledger| ledger.owed() > 0);
        let has_deleted = self.history.has_deleted(self.settings.ledger_above, self.now);
        !is_owed && !has_deleted && held.blind_limits.is_empty() && held.unrecorded.is_empty()
    }

    fn give_up(&mut self, shard: Shard) {
        let now = self.now;
        let Some(mut held) = self.held.remove(&shard) else {
            return;
        };
        let Some(claim) = held.claim else { return };
        self.put_back_rows(&mut held);
        let vouched = self.vouched(&held);
        let blind = held.blind.after(stretch(self.settings.ledger_above)) > now;
        if blind || !self.is_all_recorded(&held) {
            return;
        }
        let charges = held.accounts.iter().flat_map(|(account, of)| {
            of.window
                .charges(Label::MAX)
                .into_iter()
                .map(move |(bucket, tokens)| Charge {
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
            revision: self.history.current().revision,
            vouched,
        }));
    }
}

fn as_claim(value: Option<CellValue>) -> Option<Claim> {
    match value {
        Some(CellValue::Claim(claim)) => Some(claim),
        _ => None,
    }
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

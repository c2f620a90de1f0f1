//! The proxy's end: what it reports of each account, and which levels it takes up.
//!
//! ```text
//!   account   wanted ─▶ reported ─▶ has a level ⇄ more or less ── idle ─▶ wants nothing ── level 0 ─▶ forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::gates::Gates;
use super::{AGAIN, Level, Report};
use crate::change::Revision;
use crate::quota::message::{AccountId, KeyHash, SHARDS, Shard};
use crate::time::Time;

/// Between two looks at an account that nobody waits for.
const LOOK: Duration = Duration::from_secs(1);
/// What has nothing in flight for so many looks gives its permits back.
const IDLE_LOOKS: u32 = 3;
/// What was wanted is remembered for so long at least, and for twice that at most.
const WINDOW: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Holder {
    gates: Arc<Gates>,
    accounts_max: usize,
    places: BTreeMap<KeyHash, Place>,
    agenda: BTreeSet<(Time, KeyHash)>,
    shards: Vec<OfShard>,
    reports: Vec<Report>,
    woken: Vec<AccountId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfShard {
    /// Levels of others are not taken up.
    epoch: u64,
    /// Nor are those of this number or older, of accounts that were forgotten.
    floor: u64,
}

#[derive(Debug)]
struct Place {
    account: AccountId,
    /// Of the newest level that was heard of under this epoch.
    number: u64,
    /// Requests that wait for a permit, and those that were refused one in this window.
    waiting: u32,
    refused: u32,
    /// The most that was wanted in this window and in the one before.
    peaks: (u32, u32),
    window: Time,
    /// None: nothing under this epoch.
    said: Option<(Time, Report)>,
    /// There is no more before, its owner says.
    full_until: Time,
    /// Since the last look.
    was_busy: bool,
    idle_looks: u32,
    due: Time,
}

/// What becomes of a request that has found no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    Again,
    /// `waited` is to be called when it is over.
    Wait,
    /// The fleet has no more at the moment; or there is no room for the account.
    Refused {
        is_all: bool,
    },
    /// The limit says that without its owner nothing is counted.
    Uncounted,
    /// The table that it goes by is not the one of now: look anew.
    Stale,
}

impl Holder {
    pub fn new(gates: Arc<Gates>, accounts_max: usize) -> Holder {
        Holder {
            gates,
            accounts_max,
            places: BTreeMap::new(),
            agenda: BTreeSet::new(),
            shards: vec![OfShard::default(); usize::from(SHARDS)],
            reports: Vec::new(),
            woken: Vec::new(),
        }
    }

    pub fn gates(&self) -> &Arc<Gates> {
        &self.gates
    }

    pub fn is_idle(&self) -> bool {
        self.places.is_empty()
    }

    /// To be said to the accounts' owners.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Of these a request may find a permit that found none before, or hear that there is none.
    pub fn take_woken(&mut self) -> Vec<AccountId> {
        std::mem::take(&mut self.woken)
    }

    /// For a request that found no permit. `may_wait`: somebody can be asked.
    pub fn block(&mut self, account: AccountId, may_wait: bool, now: Time) -> Blocked {
        let key = account.key;
        if !self.places.contains_key(&key) {
            if self.places.len() >= self.accounts_max {
                return Blocked::Refused { is_all: false };
            }
            let floor = self.shards[usize::from(account.shard())].floor;
            self.places.insert(key, Place::new(account, floor, now));
            self.gates.set_level(key, 0);
            self.schedule(key, now + LOOK);
        }
        let gate = self.gates.look(key);
        if gate.in_flight < gate.level {
            return Blocked::Again;
        }
        self.gates.watch(key);
        let Some(place) = self.places.get_mut(&key) else {
            return Blocked::Refused { is_all: false };
        };
        place.idle_looks = 0;
        let is_full = now < place.full_until;
        if is_full || !may_wait {
            place.refused = place.refused.saturating_add(1);
            return Blocked::Refused { is_all: is_full };
        }
        place.waiting = place.waiting.saturating_add(1);
        // Who has asked for more is answered, or asks again.
        let is_asked = |(at, said): (Time, Report)| said.wanted > gate.level && now.since(at) < AGAIN;
        if !place.said.is_some_and(is_asked) {
            self.report(key, now);
        }
        self.schedule(key, now + AGAIN);
        Blocked::Wait
    }

    /// A request waits no longer.
    pub fn waited(&mut self, account: AccountId, is_admitted: bool) {
        if let Some(place) = self.places.get_mut(&account.key) {
            place.waiting = place.waiting.saturating_sub(1);
            place.refused = place.refused.saturating_add(u32::from(!is_admitted));
        }
    }

    /// A permit came back that somebody waits for, or that is to go back.
    pub fn left(&mut self, key: KeyHash, now: Time) {
        let gate = self.gates.look(key);
        let Some(place) = self.places.get(&key) else { return };
        if gate.in_flight < gate.level {
            self.woken.push(place.account);
        }
        if gate.in_flight >= gate.level {
            self.report(key, now);
        }
    }

    /// `revision`: of the limit here; none: there is no such limit.
    pub fn level(&mut self, told: &Level, revision: Option<Revision>, now: Time) {
        let of = self.shards[usize::from(told.account.shard())];
        if told.epoch != of.epoch {
            return;
        }
        let key = told.account.key;
        let Some(place) = self.places.get_mut(&key) else {
            self.report_forgotten(told.account, told.number);
            return;
        };
        let is_new = told.number > place.number;
        if is_new {
            place.number = told.number;
            let level = self.gates.look(key).level;
            let takes = match revision == Some(told.revision) {
                true => told.level,
                false => told.level.min(level),
            };
            self.gates.set_level(key, takes);
            place.full_until = Time::ZERO;
        }
        if told.is_all && told.number == place.number {
            place.full_until = now + AGAIN;
        }
        self.woken.push(told.account);
        if is_new || told.answer {
            self.report(key, now);
            self.forget_if_over(key);
        }
    }

    /// Something was said of an account that nothing is known of. Levels up to that number are of no use any more.
    fn report_forgotten(&mut self, account: AccountId, number: u64) {
        let of = &mut self.shards[usize::from(account.shard())];
        of.floor = of.floor.max(number);
        self.reports.push(Report {
            account,
            epoch: of.epoch,
            number: of.floor,
            ceiling: 0,
            in_flight: 0,
            wanted: 0,
            is_idle: true,
        });
    }

    /// A newer owner. What is held stays; what the former one says is not heard any more.
    pub fn adopt(&mut self, shard: Shard, epoch: u64, now: Time) {
        self.shards[usize::from(shard)] = OfShard { epoch, floor: 0 };
        for key in self.of_shard(shard) {
            if let Some(place) = self.places.get_mut(&key) {
                (place.number, place.said, place.full_until) = (0, None, Time::ZERO);
            }
            self.schedule(key, now);
        }
    }

    /// What there is of a shard, for its new owner.
    pub fn count(&mut self, shard: Shard, now: Time) -> Vec<Report> {
        for key in self.of_shard(shard) {
            self.report(key, now);
        }
        let (of, others) = std::mem::take(&mut self.reports)
            .into_iter()
            .partition(|report| report.account.shard() == shard);
        self.reports = others;
        of
    }

    /// What is not in use is not used any more, where `is_void` says so.
    pub fn void(&mut self, is_void: impl Fn(&AccountId) -> bool, now: Time) {
        let accounts = self.places.values().map(|place| place.account);
        for AccountId { key, .. } in accounts.filter(is_void).collect::<Vec<_>>() {
            if self.gates.look(key).level > 0 {
                self.gates.set_level(key, 0);
                self.report(key, now);
            }
        }
    }

    pub fn tick(&mut self, now: Time) {
        while let Some((due, key)) = self.agenda.first().copied().filter(|(due, _)| *due <= now) {
            self.agenda.remove(&(due, key));
            self.look_after(key, now);
        }
    }

    fn look_after(&mut self, key: KeyHash, now: Time) {
        let gate = self.gates.look(key);
        let Some(place) = self.places.get_mut(&key) else { return };
        let wanted = place.wanted(&self.gates, now);
        match std::mem::take(&mut place.was_busy) || wanted > 0 {
            true => place.idle_looks = 0,
            false => place.idle_looks += 1,
        }
        // Its owner may not know: the message may have been lost.
        let is_unheard = place.said.is_none_or(|(_, said)| said.wanted > gate.level);
        let again = if place.waiting > 0 { AGAIN } else { LOOK };
        if place.is_idle() || wanted > gate.level || is_unheard {
            self.report(key, now);
        }
        if !self.forget_if_over(key) {
            self.schedule(key, now + again);
        }
    }

    /// With nothing in hand or in flight there is nothing to remember.
    fn forget_if_over(&mut self, key: KeyHash) -> bool {
        let Some(place) = self.places.get(&key) else {
            return true;
        };
        if !place.is_idle() || !self.gates.remove(key) {
            return false;
        }
        let of = &mut self.shards[usize::from(place.account.shard())];
        of.floor = of.floor.max(place.number);
        self.agenda.remove(&(place.due, key));
        self.places.remove(&key);
        true
    }

    fn report(&mut self, key: KeyHash, now: Time) {
        let Some(place) = self.places.get_mut(&key) else { return };
        let wanted = place.wanted(&self.gates, now);
        let gate = self.gates.look(key);
        let of = self.shards[usize::from(place.account.shard())];
        let report = Report {
            account: place.account,
            epoch: of.epoch,
            number: place.number,
            ceiling: gate.ceiling(),
            in_flight: gate.in_flight,
            wanted: wanted.max(gate.in_flight),
            is_idle: place.is_idle() && gate.in_flight == 0,
        };
        place.said = Some((now, report));
        self.reports.push(report);
    }

    fn of_shard(&self, shard: Shard) -> Vec<KeyHash> {
        let keys = self.places.iter();
        keys.filter(|(key, _)| key.shard() == shard)
            .map(|(key, _)| *key)
            .collect()
    }

    fn schedule(&mut self, key: KeyHash, due: Time) {
        let Some(place) = self.places.get_mut(&key) else { return };
        if !self.agenda.contains(&(place.due, key)) || due < place.due {
            self.agenda.remove(&(place.due, key));
            place.due = due;
            self.agenda.insert((due, key));
        }
    }
}

impl Place {
    fn new(account: AccountId, number: u64, now: Time) -> Place {
        Place {
            account,
            number,
            waiting: 0,
            refused: 0,
            peaks: (0, 0),
            window: now,
            said: None,
            full_until: Time::ZERO,
            was_busy: false,
            idle_looks: 0,
            due: Time::ZERO,
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting == 0 && self.idle_looks >= IDLE_LOOKS
    }

    /// As many as would be in flight, by the most of late.
    fn wanted(&mut self, gates: &Gates, now: Time) -> u32 {
        let (gate, peak) = gates.take_peak(self.account.key);
        self.was_busy |= peak > 0 || self.refused > 0;
        let lacking = self.waiting.saturating_add(self.refused);
        let age = now.since(self.window);
        if age < WINDOW {
            self.peaks.0 = self.peaks.0.max(peak.saturating_add(lacking));
            return self.peaks.0.max(self.peaks.1);
        }
        // A peak of long ago says nothing.
        self.peaks = match age < 2 * WINDOW {
            true => (peak.saturating_add(lacking), self.peaks.0),
            false => (gate.in_flight.saturating_add(lacking), 0),
        };
        (self.window, self.refused) = (now, 0);
        self.peaks.0.max(self.peaks.1)
    }
}

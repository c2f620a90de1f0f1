//! Who was heard of, and who has been silent for too long: a state machine that is handed the time.
//!
//! ```text
//!            due, alone or few            asked of the others
//!   Live ─────────────────────► Asking ─────────────────────► Ending ──► unregistered
//!    ▲ │                          │ a renewal wins               │ (the log says so)
//!    │ │ due, with too many       ▼                              ▼ the log did not take it
//!    │ └────────► Lapsed ──────► Live ◄──────────────────────────┘
//!    └──────────────┘ renewed, or so many others were that the rest are few
//! ```
//!
//! Who is due stays `Live` for as long as the others may have stopped with it: until they have been heard since, or are
//! due themselves. Whoever is heard every third of its `ttl` keeps nobody waiting.
//!
//! Every control plane has all registrations with a `ttl` here, and decides about those of the services that it owns. A
//! renewal is refused from `Ending` on, and where another control plane was promised so: whoever sends it registers anew.

mod beat;
mod group;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use shared::stream::planes::PlaneId;
use shared::time::Time;

use super::registration::Registration;
use crate::planes::rank;
use beat::{Beat, Stage};
use group::Group;

/// A decision comes so long after the time is over: what falls silent together is judged together.
pub const GATHER: Duration = Duration::from_millis(300);
/// A longer gap between two ticks is a pause: what came meanwhile has not been heard.
const PAUSE: Duration = Duration::from_secs(1);
/// What could not be decided is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at what is held.
const SETTLE_EVERY: Duration = Duration::from_secs(1);
/// For so long no renewal is answered of what another control plane is about to unregister.
const PROMISED_FOR: Duration = Duration::from_secs(5);

pub struct Timers {
    own: PlaneId,
    others: Vec<PlaneId>,
    groups: HashMap<Arc<str>, Group>,
    /// When each is looked at next: one entry at most for each registration, of owned services only.
    timers: BTreeSet<(Time, Arc<str>, Arc<str>)>,
    /// Services of which too many are silent.
    holding: BTreeSet<Arc<str>>,
    /// What was heard here, and its owner does not know.
    untold: BTreeSet<(Arc<str>, Arc<str>)>,
    ticked: Time,
    settled: Time,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Renewed,
    /// That one is to know of it.
    Elsewhere(PlaneId),
    /// It is not that registration any more, or will not be in a moment.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To be unregistered, if nobody else has heard of it.
    Expire(Registration),
    /// Of so many of the service too many are silent at once.
    Holding(Lapsed),
    /// Of the service so few are silent that they are unregistered again.
    Resumed(Arc<str>),
}

/// Registrations of a service that stand though they were not renewed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lapsed {
    pub service: Arc<str>,
    pub lapsed: usize,
    /// All upstreams of the service.
    pub of: usize,
}

impl Timers {
    pub fn new(own: PlaneId, now: Time) -> Timers {
        Timers {
            own,
            others: Vec::new(),
            groups: HashMap::new(),
            timers: BTreeSet::new(),
            holding: BTreeSet::new(),
            untold: BTreeSet::new(),
            ticked: now,
            settled: now,
        }
    }

    /// The log has it so: a new registration, or another form of one. `ttl` none: it needs no renewal.
    pub fn registered(&mut self, registration: Registration, ttl: Option<Duration>, now: Time) {
        let Registration { service, id, revision } = registration;
        let Some(ttl) = ttl else {
            return self.unregistered(&service, &id, now);
        };
        let (own, others) = (self.own, &self.others);
        let group = self
            .groups
            .entry(service.clone())
            .or_insert_with(|| Group::new(owner(own, others, &service) == own));
        group.put(&id, Beat::new(revision, ttl, now));
        self.untold.remove(&(service.clone(), id.clone()));
        self.time(&service, &id);
    }

    pub fn unregistered(&mut self, service: &Arc<str>, id: &Arc<str>, now: Time) {
        let Some(group) = self.groups.get_mut(service) else {
            return;
        };
        if let Some(at) = group.remove(id, now) {
            self.timers.remove(&(at, service.clone(), id.clone()));
        }
        self.untold.remove(&(service.clone(), id.clone()));
        if group.is_empty() {
            self.groups.remove(service);
            self.holding.remove(service);
        }
    }

    /// A renewal came here at `heard`.
    pub fn renew(&mut self, registration: &Registration, heard: Time, now: Time) -> Heard {
        let Registration { service, id, .. } = registration;
        let Some(group) = self.groups.get_mut(service) else {
            return Heard::Refused;
        };
        if !group.takes_renewal(registration, now) {
            return Heard::Refused;
        }
        if !group.is_owned {
            return Heard::Elsewhere(owner(self.own, &self.others, service));
        }
        group.renew(id, heard);
        self.time(service, id);
        Heard::Renewed
    }

    /// The owner could not be told of it: it is remembered here until it is. False: it is refused by now.
    pub fn remember(&mut self, registration: &Registration, heard: Time, now: Time) -> bool {
        match self.renew(registration, heard, now) {
            Heard::Renewed => true,
            Heard::Refused => false,
            Heard::Elsewhere(_) => {
                let Registration { service, id, .. } = registration;
                if let Some(beat) = self.beat_mut(service, id) {
                    beat.heard = beat.heard.max(Some(heard));
                }
                self.untold.insert((service.clone(), id.clone()));
                true
            }
        }
    }

    /// What owners are still to be told, and when it was heard; at most `max`.
    pub fn untold(&self, max: usize) -> BTreeMap<PlaneId, Vec<(Registration, Time)>> {
        let mut untold: BTreeMap<PlaneId, Vec<(Registration, Time)>> = BTreeMap::new();
        for (service, id) in self.untold.iter().take(max) {
            let Some(beat) = self.beat(service, id) else { continue };
            let owner = owner(self.own, &self.others, service);
            if let Some(heard) = beat.heard {
                let registration = Registration::new(service, id, beat.revision);
                untold.entry(owner).or_default().push((registration, heard));
            }
        }
        untold
    }

    /// Its owner knows that it was heard then, or that it is no more.
    pub fn told(&mut self, registration: &Registration, heard: Time) {
        let Registration { service, id, .. } = registration;
        if self.beat(service, id).is_none_or(|beat| beat.heard <= Some(heard)) {
            self.untold.remove(&(service.clone(), id.clone()));
        }
    }

    /// Another control plane is about to unregister it. None: no renewal of it is answered here for now. Otherwise when
    /// the last one was heard.
    pub fn promise(&mut self, registration: &Registration, now: Time) -> Option<Time> {
        let Registration { service, id, revision } = registration;
        let beat = self.beat_mut(service, id).filter(|beat| beat.revision == *revision)?;
        let alive = beat.heard.filter(|heard| now < *heard + beat.ttl);
        if alive.is_none() {
            beat.promised_until = Some(now + PROMISED_FOR);
        }
        alive
    }

    /// Nobody else has heard of it. False: it was renewed here meanwhile.
    pub fn end(&mut self, registration: &Registration) -> bool {
        let Registration { service, id, revision } = registration;
        let beat = self.beat_mut(service, id);
        let Some(beat) = beat.filter(|beat| beat.revision == *revision && beat.stage == Stage::Asking) else {
            return false;
        };
        beat.stage = Stage::Ending;
        true
    }

    /// It could not be unregistered, and stands.
    pub fn stands(&mut self, registration: &Registration, now: Time) {
        let Registration { service, id, revision } = registration;
        let beat = self.beat_mut(service, id);
        let leaving = |beat: &&mut Beat| beat.revision == *revision && beat.is_leaving();
        if let Some(beat) = beat.filter(leaving) {
            beat.stage = Stage::Live;
            beat.due = beat.due.max(now + AGAIN);
            self.time(service, id);
        }
    }

    /// Who is there. What becomes this one's begins anew: what was heard elsewhere is not known here.
    pub fn present(&mut self, others: Vec<PlaneId>, now: Time) {
        if self.others == others {
            return;
        }
        self.others = others;
        let mut came = Vec::new();
        for (service, group) in &mut self.groups {
            let is_owned = owner(self.own, &self.others, service) == self.own;
            if is_owned && !group.is_owned {
                came.push(service.clone());
            }
            if !is_owned && group.is_owned {
                for (id, at) in group.stop() {
                    self.timers.remove(&(at, service.clone(), id));
                }
                self.holding.remove(service);
            }
            group.is_owned = is_owned;
        }
        came.iter().for_each(|service| self.begin_anew(service, now));
        self.untold.retain(|(service, _)| !came.contains(service));
    }

    /// Ten times a second. `size`: all upstreams of a service, also those that need no renewal.
    pub fn tick(&mut self, now: Time, size: &dyn Fn(&str) -> usize) -> Vec<Output> {
        let mut outputs = Vec::new();
        if now.since(self.ticked) > PAUSE {
            let all: Vec<Arc<str>> = self.groups.keys().cloned().collect();
            all.iter().for_each(|service| self.begin_anew(service, now));
        }
        self.ticked = now;
        let mut silent = BTreeSet::new();
        while self.timers.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, service, id)) = self.timers.pop_first() else {
                break;
            };
            let Some(beat) = self.beat_mut(&service, &id) else {
                continue;
            };
            beat.timer = None;
            match beat.due + GATHER <= now {
                true => drop(silent.insert(service)),
                false => self.time(&service, &id),
            }
        }
        for service in silent {
            self.judge(&service, now, size(&service), &mut outputs);
        }
        if now.since(self.settled) >= SETTLE_EVERY {
            self.settled = now;
            self.settle(now, size, &mut outputs);
        }
        outputs
    }

    /// Nothing is decided for now, and it is no pause either.
    pub fn rest(&mut self, now: Time) {
        if now.since(self.ticked) <= PAUSE {
            self.ticked = now;
        }
    }

    /// Of the services that are owned here.
    pub fn lapsed(&self, size: &dyn Fn(&str) -> usize) -> Vec<Lapsed> {
        let held = self.holding.iter().filter_map(|service| {
            let lapsed = self.groups.get(service)?.lapsed;
            Some(Lapsed {
                service: service.clone(),
                lapsed,
                of: size(service),
            })
        });
        held.collect()
    }

    /// Registrations that stand though they were not renewed, of the services that are owned here.
    pub fn held(&self) -> usize {
        let held = self.holding.iter().filter_map(|service| self.groups.get(service));
        held.map(|group| group.lapsed).sum()
    }

    fn judge(&mut self, service: &Arc<str>, now: Time, size: usize, outputs: &mut Vec<Output>) {
        let Some(group) = self.groups.get_mut(service) else {
            return;
        };
        let silent = group.silent(now);
        if silent.is_empty() {
            return;
        }
        if !group.is_mass(silent.len(), size, now) {
            let (few, doubtful) = group.split(silent, size, now);
            outputs.extend(few.iter().filter_map(|id| group.ask(service, id)).map(Output::Expire));
            for id in &doubtful {
                self.look_again(service, id, now + GATHER);
            }
            return;
        }
        silent.iter().for_each(|id| group.lapse(id));
        let lapsed = group.lapsed;
        if self.holding.insert(service.clone()) {
            let service = service.clone();
            outputs.push(Output::Holding(Lapsed {
                service,
                lapsed,
                of: size,
            }));
        }
    }

    /// Where few are silent any more they have their time once more, and go if they use it not.
    fn settle(&mut self, now: Time, size: &dyn Fn(&str) -> usize, outputs: &mut Vec<Output>) {
        let held: Vec<Arc<str>> = self.holding.iter().cloned().collect();
        for service in held {
            let Some(group) = self.groups.get_mut(&service) else {
                continue;
            };
            if group.lapsed > 0 && group.is_mass(0, size(&service), now) {
                continue;
            }
            let lapsed = group.release(now);
            lapsed.iter().for_each(|id| self.time(&service, id));
            self.holding.remove(&service);
            outputs.push(Output::Resumed(service));
        }
    }

    /// One whole time for everybody.
    fn begin_anew(&mut self, service: &Arc<str>, now: Time) {
        let Some(group) = self.groups.get_mut(service) else {
            return;
        };
        if group.lapsed == 0 {
            self.holding.remove(service);
        }
        let begun = group.begin_anew(now);
        begun.iter().for_each(|id| self.time(service, id));
    }

    /// Looks at it when it may be over; once it is in the list, what is renewed need not move in it.
    fn time(&mut self, service: &Arc<str>, id: &Arc<str>) {
        let Some(group) = self.groups.get_mut(service).filter(|group| group.is_owned) else {
            return;
        };
        if let Some(beat) = group.beats.get_mut(id).filter(|beat| beat.stage == Stage::Live) {
            let at = beat.due + GATHER;
            // A time that became shorter is looked at sooner.
            if let Some(later) = beat.timer.filter(|timer| *timer > at) {
                self.timers.remove(&(later, service.clone(), id.clone()));
                beat.timer = None;
            }
            if beat.timer.is_none() {
                beat.timer = Some(at);
                self.timers.insert((at, service.clone(), id.clone()));
            }
        }
    }

    /// Where it is not to be looked at sooner anyway.
    fn look_again(&mut self, service: &Arc<str>, id: &Arc<str>, at: Time) {
        if let Some(beat) = self.beat_mut(service, id).filter(|beat| beat.timer.is_none()) {
            beat.timer = Some(at);
            self.timers.insert((at, service.clone(), id.clone()));
        }
    }

    fn beat(&self, service: &str, id: &str) -> Option<&Beat> {
        self.groups.get(service)?.beats.get(id)
    }

    fn beat_mut(&mut self, service: &str, id: &str) -> Option<&mut Beat> {
        self.groups.get_mut(service)?.beats.get_mut(id)
    }
}

/// All of a service have one, so that it sees how many of them are silent.
fn owner(own: PlaneId, others: &[PlaneId], service: &str) -> PlaneId {
    // FNV-1a.
    let hash = service.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let all = others.iter().chain([&own]);
    all.max_by_key(|plane| rank(plane.0, hash)).copied().unwrap_or(own)
}

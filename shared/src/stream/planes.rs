//! The other control planes on the same store: which there are, what each says of the proxies that it holds, and what
//! follows for a lease.
//!
//! A proxy may be kept in its lease by any of them, so none may call a proxy detached on its own account alone. Three
//! rules make what one of them does safe for what the others conclude:
//!
//! - It **echoes** only while its own row was refreshed within 5 s and its view of the log is younger than 5 s, and
//!   only to a proxy whose hold the others have had the time to learn of, and which has applied what was in the log
//!   *after* that time. Whatever they answered before, without that proxy, it has.
//! - The others **count** its proxies as present until they saw its row unchanged for 15 s, plus lease and margin.
//! - Without **current word** from one whose row is alive, every member that is not one's own may be held there.
//!
//! What is said is per proxy, never a number: one that moves from one control plane to another is counted once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::stream::message::Level;
use crate::stream::roster::{MARGIN, TAIL_AGE_MAX};
use crate::time::Time;

pub mod listener;
pub mod message;
pub mod teller;

use message::{Advanced, Holding};

/// A control plane echoes while the last refresh of its row began within this.
pub const ROW_FRESH: Duration = Duration::from_secs(5);
/// A row that was seen unchanged for so long is of one that echoes no more.
pub const ROW_AGE_MAX: Duration = Duration::from_secs(15);
/// What was read of the rows, or said by another, counts as known for so long.
pub const KNOWN_FOR: Duration = Duration::from_secs(2);
/// After so long the others know: longer than [`KNOWN_FOR`] by what clocks drift.
pub const PUBLIC_AFTER: Duration = Duration::from_millis(2_500);
/// Control planes of one store. With more rows than that, nothing is concluded from them.
pub const PLANES_MAX: usize = 256;

/// One start of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlaneId(pub Uuid);

/// What the store says of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: PlaneId,
    /// Where the others reach it.
    pub url: Arc<str>,
    /// Another one with every refresh.
    pub beat: i64,
}

/// A name and an instance: whom a holding is about.
type Key = (Arc<str>, Uuid);

#[derive(Debug, Default)]
pub struct Planes {
    /// None on a store that nobody shares: then everything is known at every moment.
    own: Option<Own>,
    others: BTreeMap<PlaneId, Other>,
}

#[derive(Debug)]
struct Own {
    id: PlaneId,
    fresh_until: Option<Time>,
    /// Counts the times that the row came to life; what was concluded before counts no more.
    streak: u64,
    /// From then on the others know that it is alive.
    public_at: Time,
    /// When the last successful reads of the rows and of the log began.
    rows_read: Option<Time>,
    log_read: Option<Time>,
}

#[derive(Debug)]
struct Other {
    url: Arc<str>,
    beat: i64,
    /// When it was first seen with this beat.
    changed: Time,
    /// Whether the last read of the rows had it.
    listed: bool,
    /// All that it said up to then is known.
    proven: Option<Time>,
    by_slot: HashMap<u32, Holding>,
    slots: HashMap<Key, u32>,
}

impl Planes {
    pub(super) fn among(own: PlaneId) -> Planes {
        Planes {
            own: Some(Own {
                id: own,
                fresh_until: None,
                streak: 0,
                public_at: Time::ZERO,
                rows_read: None,
                log_read: None,
            }),
            others: BTreeMap::new(),
        }
    }

    pub fn own(&self) -> Option<PlaneId> {
        self.own.as_ref().map(|own| own.id)
    }

    /// The own row was refreshed by a write that began then.
    pub(super) fn row_written(&mut self, began: Time, now: Time) {
        let Some(own) = &mut self.own else { return };
        if own.fresh_until.is_none_or(|until| now > until) {
            own.streak += 1;
            own.public_at = now + PUBLIC_AFTER;
        }
        own.fresh_until = own.fresh_until.max(Some(began + ROW_FRESH));
    }

    /// All rows, by a read that began then.
    pub(super) fn rows_read(&mut self, rows: &[Row], began: Time, now: Time) {
        let Some(own) = &mut self.own else { return };
        if rows.len() > PLANES_MAX {
            return;
        }
        own.rows_read = own.rows_read.max(Some(began));
        let own = own.id;
        self.others.values_mut().for_each(|other| other.listed = false);
        for row in rows.iter().filter(|row| row.id != own) {
            let other = self.others.entry(row.id).or_insert_with(|| Other::new(row, now));
            if other.beat != row.beat {
                other.beat = row.beat;
                other.changed = now;
            }
            other.url = row.url.clone();
            other.listed = true;
        }
    }

    /// Everything that was in the log when this read began has been folded in.
    pub(super) fn log_read(&mut self, began: Time) {
        if let Some(own) = &mut self.own {
            own.log_read = own.log_read.max(Some(began));
        }
    }

    /// Those to listen to: alive by their row.
    pub fn alive(&self, now: Time) -> Vec<(PlaneId, Arc<str>)> {
        let alive = |(_, other): &(&PlaneId, &Other)| other.listed && now.since(other.changed) < ROW_AGE_MAX;
        let others = self.others.iter().filter(alive);
        others.map(|(id, other)| (*id, other.url.clone())).collect()
    }

    /// Those that are alive, as long as this one is and knows it of the others. None: that is not known now.
    pub fn present(&self, now: Time) -> Option<Vec<(PlaneId, Arc<str>)>> {
        let Some(own) = &self.own else { return Some(Vec::new()) };
        let is_fresh = own.fresh_until.is_some_and(|until| now <= until);
        let is_known = own.rows_read.is_some_and(|began| now.since(began) <= KNOWN_FOR);
        (is_fresh && is_known).then(|| self.alive(now))
    }

    /// Forgets those that can hold nobody any more, whatever lease up to `lease` they echoed.
    pub(super) fn tick(&mut self, lease: Duration, resumed: Time, now: Time) {
        self.others
            .retain(|_, other| other.listed || !other.is_over(lease, resumed, now));
    }

    /// Whether the others must by now believe that this one is alive, and it may speak for leases.
    pub(super) fn may_echo(&self, now: Time) -> bool {
        self.own.as_ref().is_none_or(|own| {
            let fresh = own.fresh_until.is_some_and(|until| now <= until);
            let informed = own.log_read.is_some_and(|began| now.since(began) <= TAIL_AGE_MAX);
            fresh && informed
        })
    }

    /// Whether nobody else writes to the store.
    pub fn is_alone(&self) -> bool {
        self.own.is_none()
    }

    pub(super) fn streak(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| own.streak)
    }

    /// Whether a read that began then saw all that the others answered before they knew of a hold since `since`.
    pub(super) fn is_public(&self, since: Time, began: Time) -> bool {
        self.own
            .as_ref()
            .is_none_or(|own| began >= since + PUBLIC_AFTER && began >= own.public_at)
    }

    /// Whether no other control plane can be keeping this one's lease.
    pub(super) fn exclude(&self, name: &Arc<str>, instance: Uuid, lease: Duration, resumed: Time, now: Time) -> bool {
        let Some(own) = &self.own else { return true };
        let known = |read: Option<Time>| read.is_some_and(|began| now.since(began) <= KNOWN_FOR);
        let key = (name.clone(), instance);
        known(own.rows_read)
            && self.others.values().all(|other| match known(other.proven) {
                true => !other.slots.contains_key(&key),
                false => other.is_over(lease, resumed, now),
            })
    }

    /// What others say of one proxy, whenever they said it.
    pub(super) fn holdings(&self, name: &Arc<str>, instance: Uuid) -> impl Iterator<Item = (&Arc<str>, &Holding)> {
        let key = (name.clone(), instance);
        self.others.values().filter_map(move |other| {
            let holding = other.by_slot.get(other.slots.get(&key)?)?;
            Some((&other.url, holding))
        })
    }

    pub(super) fn other(&mut self, id: PlaneId) -> Option<Speaker<'_>> {
        self.others.get_mut(&id).map(Speaker)
    }
}

impl Other {
    fn new(row: &Row, now: Time) -> Other {
        Other {
            url: row.url.clone(),
            beat: row.beat,
            changed: now,
            listed: true,
            proven: None,
            by_slot: HashMap::new(),
            slots: HashMap::new(),
        }
    }

    fn is_over(&self, lease: Duration, resumed: Time, now: Time) -> bool {
        now >= self.changed.max(resumed) + (ROW_AGE_MAX + lease + MARGIN)
    }
}

/// Takes down what another control plane says.
pub(super) struct Speaker<'a>(&'a mut Other);

impl Speaker<'_> {
    /// It begins anew, and says all of it again.
    pub(super) fn begin(self) {
        self.0.proven = None;
        self.0.by_slot.clear();
        self.0.slots.clear();
    }

    /// What it said before is known, but no longer all of it.
    pub(super) fn end(self) {
        self.0.proven = None;
    }

    pub(super) fn prove(self, sent: Time, now: Time) {
        if sent <= now {
            self.0.proven = self.0.proven.max(Some(sent));
        }
    }

    /// Answers what was held in that place before.
    pub(super) fn hold(self, slot: u32, holding: Holding) -> Option<Holding> {
        let key = (holding.name.clone(), holding.instance);
        let before = self.0.by_slot.insert(slot, holding);
        if let Some(before) = &before {
            self.0.slots.remove(&(before.name.clone(), before.instance));
        }
        self.0.slots.insert(key, slot);
        before
    }

    /// Answers of whom, with the level before.
    pub(super) fn advance(self, advanced: &Advanced) -> Vec<(Key, Level)> {
        let mut moved = Vec::with_capacity(advanced.slots.len());
        for slot in &advanced.slots {
            let Some(holding) = self.0.by_slot.get_mut(slot) else {
                continue;
            };
            if let Some(level) = &mut holding.level {
                let before = level.clone();
                level.applied = advanced.to;
                moved.push(((holding.name.clone(), holding.instance), before));
            }
        }
        moved
    }

    pub(super) fn release(self, slots: &[u32]) {
        for slot in slots {
            if let Some(holding) = self.0.by_slot.remove(slot) {
                self.0.slots.remove(&(holding.name, holding.instance));
            }
        }
    }
}

#[cfg(test)]
mod tests;

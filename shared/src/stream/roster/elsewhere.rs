//! What the other control planes have to do with it: whom they may hold, what they say of it, and what this one tells
//! them and when it may speak for a lease.

use std::sync::Arc;
use std::time::Duration;

use super::{Hold, Level, Peer, Planes, Roster, Slot};
use crate::change::Revision;
use crate::stream::planes::{PlaneId, Row, Speaker};
use crate::time::Time;

impl Roster {
    pub fn planes(&self) -> &Planes {
        &self.planes
    }

    /// The own row was refreshed by a write that began then.
    pub fn row_written(&mut self, began: Time, now: Time) {
        self.pulse(now);
        self.planes.row_written(began, now);
    }

    /// The rows of all control planes, by a read that began then.
    pub fn rows_read(&mut self, rows: &[Row], began: Time, now: Time) {
        self.pulse(now);
        self.planes.rows_read(rows, began, now);
    }

    /// Everything that was in the log when a read began has been folded in, and proxies live by `configured` now: what
    /// others answered before they knew whom this one holds is part of that.
    pub fn log_read(&mut self, began: Time, configured: Revision, now: Time) {
        self.pulse(now);
        self.planes.log_read(began);
        let streak = self.planes.streak();
        for peer in self.peers.iter_mut().flatten() {
            if let Some(hold) = &mut peer.hold
                && hold.vouched.is_none_or(|(_, of)| of != streak)
                && self.planes.is_public(hold.since, began)
            {
                hold.vouched = Some((configured, streak));
            }
        }
    }

    /// Whether this control plane's word may keep the lease of this one.
    pub fn may_echo(&self, slot: Slot, now: Time) -> bool {
        if self.planes.is_alone() {
            return true;
        }
        let Some(Peer {
            level: Some(level),
            hold: Some(hold),
            ..
        }) = self.peer(slot)
        else {
            return false;
        };
        let vouched = hold.vouched.filter(|(_, streak)| *streak == self.planes.streak());
        self.planes.may_echo(now) && vouched.is_some_and(|(revision, _)| level.applied >= revision)
    }

    pub(super) fn is_excluded(&self, peer: &Peer, now: Time) -> bool {
        self.planes
            .exclude(&peer.name, peer.instance, peer.lease, self.resumed, now)
    }

    pub(super) fn is_held_by_nobody(&self, peer: &Peer, now: Time) -> bool {
        peer.hold.is_none() && self.is_excluded(peer, now)
    }

    /// How long the lease may still run, as far as that can be told.
    pub(super) fn lease_rest(&self, peer: &Peer, now: Time) -> Duration {
        match self.is_excluded(peer, now) {
            true => self.lease_end(peer).since(now),
            false => peer.lease + super::MARGIN,
        }
    }

    /// The last start that any control plane knows of.
    pub(super) fn boot(&self, peer: &Peer) -> Option<u64> {
        let elsewhere = self.planes.holdings(&peer.name, peer.instance);
        elsewhere.map(|(_, holding)| holding.boot).max().max(peer.boot)
    }

    /// What it said of itself in its last start, to whichever control plane. Each of it was true once, and what waits ask
    /// for stays true; the one that is furthest is the latest.
    pub fn levels<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = &'a Level> {
        let boot = self.boot(peer);
        let own = peer.level.as_ref().filter(|_| peer.boot == boot);
        let elsewhere = self.planes.holdings(&peer.name, peer.instance);
        let told = elsewhere.filter(move |(_, holding)| Some(holding.boot) == boot);
        own.into_iter()
            .chain(told.filter_map(|(_, holding)| holding.level.as_ref()))
    }

    /// The latest of what it said of itself.
    pub fn latest<'a>(&'a self, peer: &'a Peer) -> Option<&'a Level> {
        // Of equals the first: the own one.
        self.levels(peer)
            .reduce(|best, level| match level.applied > best.applied {
                true => level,
                false => best,
            })
    }

    /// Of its last hello, to whichever control plane.
    pub fn build<'a>(&'a self, peer: &'a Peer) -> &'a Arc<str> {
        let boot = self.boot(peer);
        let mut elsewhere = self.planes.holdings(&peer.name, peer.instance);
        match peer.boot == boot {
            true => &peer.build,
            false => elsewhere
                .find(|(_, holding)| Some(holding.boot) == boot)
                .map_or(&peer.build, |(_, holding)| &holding.build),
        }
    }

    /// Where another control plane has its stream open.
    pub fn seat<'a>(&'a self, peer: &'a Peer) -> Option<&'a str> {
        let mut elsewhere = self.planes.holdings(&peer.name, peer.instance);
        elsewhere.find(|(_, holding)| holding.connected).map(|(url, _)| &**url)
    }

    pub fn is_present(&self, peer: &Peer) -> bool {
        peer.is_connected() || self.seat(peer).is_some()
    }

    pub(in crate::stream) fn speaker(&mut self, id: PlaneId) -> Option<Speaker<'_>> {
        self.planes.other(id)
    }

    pub(in crate::stream) fn slot_of(&self, name: &str, instance: uuid::Uuid) -> Option<Slot> {
        let of = |slot: &Slot| {
            self.peer(*slot)
                .is_some_and(|peer| peer.instance == instance && &*peer.name == name)
        };
        let member = self.members.get(name).copied().filter(of);
        member.or_else(|| self.removed.iter().copied().find(of))
    }

    /// Slots that changed after so many changes, with the number of the change.
    pub(in crate::stream) fn touched_after(&self, seen: u64) -> impl Iterator<Item = (u64, Slot)> {
        self.touches
            .order
            .range(seen + 1..)
            .map(|(number, slot)| (*number, *slot))
    }

    /// Who is held, and by which change it is as it is but for the revision.
    pub(in crate::stream) fn held(&self, slot: Slot) -> Option<(&Peer, u64)> {
        let peer = self.peer(slot).filter(|peer| peer.hold.is_some())?;
        Some((
            peer,
            self.touches.reshaped.get(slot.index()).copied().unwrap_or_default(),
        ))
    }

    /// `reshaped`: more is new than the applied revision.
    pub(super) fn touch(&mut self, slot: Slot, reshaped: bool) {
        if self.planes.is_alone() {
            return;
        }
        let touches = &mut self.touches;
        if touches.last.len() <= slot.index() {
            touches.last.resize(slot.index() + 1, 0);
            touches.reshaped.resize(slot.index() + 1, 0);
        }
        touches.count += 1;
        touches.order.remove(&touches.last[slot.index()]);
        touches.order.insert(touches.count, slot);
        touches.last[slot.index()] = touches.count;
        if reshaped {
            touches.reshaped[slot.index()] = touches.count;
        }
    }

    /// Begins to hold it, unless it does already.
    pub(super) fn hold(&mut self, slot: Slot, anew: bool, now: Time) {
        let Some(peer) = self.peer_mut(slot) else { return };
        if peer.hold.is_none() || anew {
            peer.hold = Some(Hold::begin(now));
            self.touch(slot, true);
        }
    }

    pub(super) fn release(&mut self, slot: Slot) {
        if self.peer_mut(slot).and_then(|peer| peer.hold.take()).is_some() {
            self.touch(slot, true);
        }
    }

    /// Lets go of those whose lease is over by this one's own account.
    pub(super) fn tick_planes(&mut self, now: Time) {
        let over = |(_, peer): &(Slot, &Peer)| peer.hold.is_some() && now >= self.lease_end(peer);
        let over: Vec<Slot> = self.peers().filter(over).map(|(slot, _)| slot).collect();
        over.into_iter().for_each(|slot| self.release(slot));
        let longest = self.peers().map(|(_, peer)| peer.lease).max().unwrap_or_default();
        self.planes.tick(longest, self.resumed, now);
        if !self.planes.is_alone() {
            let leased: Vec<Slot> = self
                .peers()
                .filter(|(_, peer)| !self.is_detached(peer, now))
                .map(|(slot, _)| slot)
                .collect();
            for slot in leased {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.absent_since = now;
                }
            }
        }
    }
}

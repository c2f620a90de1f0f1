//! The proxies of the fleet: who is a member, who is there, and until when an absent one may still serve.
//!
//! Membership is what the log says; presence and leases are what this control plane heard. A control plane counts a
//! lease from when it *received* a state, plus a margin; the proxy counts it from when it *sent* that state. So the
//! proxy's lease ends first, however the two clocks drift within the margin. After its own start, and after any pause
//! in which it could not have heard anything, a control plane counts every lease anew.
//!
//! ```text
//!            join                     forget, or another instance took the name
//!   (none) ───────▶ member ─────────────────────────────────▶ removed, may still serve
//!                    │  ▲                join                        │
//!            goodbye │  └────────────────────────────────────────────┤
//!                    ▼                                               ▼ 5 s + lease + margin
//!                  (none)                                          (none)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::change::{Commit, Kind, Op, Revision, Verb};
use crate::state::State;
use crate::stream::message::Level;
use crate::stream::planes::Planes;
use crate::time::Time;

mod elsewhere;
pub mod member;
mod peer;
mod presence;
mod slots;

pub use member::Member;
use peer::Hold;

pub use peer::{Peer, SessionId};
pub use presence::{Admission, Forget, Heard};
pub use slots::{Slot, Slots};

/// By how much a control plane lets a lease run longer than the proxy does.
pub const MARGIN: Duration = Duration::from_secs(2);
/// A control plane that was not run for so long may have missed anything that was said to it.
pub const PAUSE: Duration = Duration::from_secs(1);
/// A member that was removed may have said hello to a control plane whose read of the log is as old as this.
pub const TAIL_AGE_MAX: Duration = Duration::from_secs(5);
/// Leases outside of this are refused.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
pub const LEASE_MAX: Duration = Duration::from_secs(3_600);

/// What changed for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterEvent {
    /// This connection no longer speaks for a member.
    Closed(SessionId),
    /// Nobody remembers this one any more.
    Gone(Slot),
}

#[derive(Debug)]
pub struct Roster {
    peers: Vec<Option<Peer>>,
    members: HashMap<Arc<str>, Slot>,
    removed: Vec<Slot>,
    free: Vec<Slot>,
    sessions: u64,
    /// When this control plane last began to listen: its start, or the end of its last pause.
    resumed: Time,
    pulse: Time,
    events: Vec<RosterEvent>,
    planes: Planes,
    touches: Touches,
}

/// In which order slots changed for those who are told of them; the last change of each.
#[derive(Debug, Default)]
struct Touches {
    count: u64,
    order: BTreeMap<u64, Slot>,
    last: Vec<u64>,
    /// By slot, the last change of more than the applied revision.
    reshaped: Vec<u64>,
}

impl Roster {
    /// `state` is the head of the log, `tail` its last commits: who was removed in them may still serve, and is waited
    /// for until its lease is over for certain.
    pub fn new<'a>(state: &State, tail: impl IntoIterator<Item = &'a Commit>, planes: Planes, now: Time) -> Roster {
        let mut roster = Roster {
            peers: Vec::new(),
            members: HashMap::new(),
            removed: Vec::new(),
            free: Vec::new(),
            sessions: 0,
            resumed: now,
            pulse: now,
            events: Vec::new(),
            planes,
            touches: Touches::default(),
        };
        for commit in tail {
            roster.committed(commit, now);
        }
        for (key, object) in state.objects.iter().filter(|(key, _)| key.kind == Kind::Member) {
            if let Ok(member) = serde_json::from_str::<Member>(object.body.as_str()) {
                roster.joined(&key.key, member, object.revision, now);
            }
        }
        roster.events.clear();
        roster
    }

    pub fn take_events(&mut self) -> Vec<RosterEvent> {
        std::mem::take(&mut self.events)
    }

    /// Every call with a time comes through here first: it is how a pause is noticed.
    pub fn pulse(&mut self, now: Time) {
        if now.since(self.pulse) > PAUSE {
            self.resumed = now;
        }
        self.pulse = self.pulse.max(now);
    }

    /// Forgets the removed ones whose time is over.
    pub fn tick(&mut self, now: Time) {
        self.pulse(now);
        self.tick_planes(now);
        let over: Vec<Slot> = self
            .removed
            .iter()
            .copied()
            .filter(|slot| self.is_over(*slot, now))
            .collect();
        over.into_iter().for_each(|slot| self.drop_peer(slot));
    }

    fn is_over(&self, slot: Slot, now: Time) -> bool {
        let peer = self.peer(slot);
        peer.is_none_or(|peer| {
            let forgotten = peer.removed_until.is_some_and(|until| now >= until);
            (forgotten && self.is_detached(peer, now)) || (peer.said_goodbye && self.is_held_by_nobody(peer, now))
        })
    }

    pub fn peer(&self, slot: Slot) -> Option<&Peer> {
        self.peers.get(slot.index())?.as_ref()
    }

    pub fn peers(&self) -> impl Iterator<Item = (Slot, &Peer)> {
        self.peers
            .iter()
            .enumerate()
            .filter_map(|(index, peer)| Some((Slot(index as u32), peer.as_ref()?)))
    }

    pub fn member(&self, name: &str) -> Option<(Slot, &Peer)> {
        let slot = *self.members.get(name)?;
        Some((slot, self.peer(slot)?))
    }

    /// Members in the order of their names.
    pub fn members(&self) -> Vec<&Peer> {
        let mut members: Vec<&Peer> = self.members.values().filter_map(|slot| self.peer(*slot)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Beyond its lease: it may serve an older table, and no write waits for it.
    pub fn is_detached(&self, peer: &Peer, now: Time) -> bool {
        now >= self.lease_end(peer) && self.is_excluded(peer, now)
    }

    fn lease_end(&self, peer: &Peer) -> Time {
        peer.heard.max(self.resumed) + peer.lease + MARGIN
    }

    /// Folds in the roster operations of a commit.
    pub fn committed(&mut self, commit: &Commit, now: Time) {
        self.pulse(now);
        for op in commit.ops.iter().filter(|op| op.kind == Kind::Member) {
            self.recall(op, now);
            match (op.verb, parse(op)) {
                (Verb::Put, Some(member)) => self.joined(&op.key, member, commit.revision, now),
                (Verb::Put, None) => self.left(&op.key, false, now),
                (Verb::Delete, _) => self.left(&op.key, member::is_goodbye(op), now),
            }
        }
    }

    /// The log's tail may begin after a member joined: what the operation replaced still tells of it.
    fn recall(&mut self, op: &Op, now: Time) {
        let Some(before) = op.before.as_ref().filter(|_| !self.members.contains_key(&op.key)) else {
            return;
        };
        if let Ok(member) = serde_json::from_str::<Member>(before.body.as_str()) {
            self.joined(&op.key, member, before.revision, now);
        }
    }

    fn joined(&mut self, name: &Arc<str>, member: Member, revision: Revision, now: Time) {
        if let Some((slot, peer)) = self.member(name) {
            if peer.instance == member.instance {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.lease = member.lease();
                }
                return;
            }
            self.left(name, false, now);
        }
        let returning = self.removed.iter().copied().find(|slot| {
            self.peer(*slot)
                .is_some_and(|peer| peer.name == *name && peer.instance == member.instance)
        });
        let slot = match returning {
            Some(slot) => {
                self.removed.retain(|removed| *removed != slot);
                if let Some(peer) = self.peer_mut(slot) {
                    peer.removed_until = None;
                    peer.said_goodbye = false;
                    peer.farewell = None;
                    peer.lease = member.lease().max(peer.lease);
                }
                slot
            }
            None => self.place(Peer {
                name: name.clone(),
                instance: member.instance,
                lease: member.lease(),
                member_since: revision,
                removed_until: None,
                said_goodbye: false,
                boot: None,
                build: "".into(),
                session: None,
                last_session: None,
                farewell: None,
                absent_since: now,
                heard: now,
                level: None,
                hold: None,
            }),
        };
        self.members.insert(name.clone(), slot);
    }

    fn left(&mut self, name: &str, goodbye: bool, now: Time) {
        let Some(slot) = self.members.remove(name) else { return };
        let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        self.events.extend(peer.session.take().map(RosterEvent::Closed));
        // The goodbye of a life before this one: it was outrun by a restart, which may be serving.
        let outrun = peer.last_session.is_some() && !peer.has_left();
        peer.removed_until = Some(now + (TAIL_AGE_MAX + peer.lease + MARGIN));
        peer.said_goodbye = goodbye && !outrun;
        peer.absent_since = now;
        self.removed.push(slot);
        self.touch(slot, true);
        if self.is_over(slot, now) {
            self.drop_peer(slot);
        }
    }

    fn place(&mut self, peer: Peer) -> Slot {
        match self.free.pop() {
            Some(slot) => {
                self.peers[slot.index()] = Some(peer);
                slot
            }
            None => {
                self.peers.push(Some(peer));
                Slot(self.peers.len() as u32 - 1)
            }
        }
    }

    fn drop_peer(&mut self, slot: Slot) {
        self.removed.retain(|removed| *removed != slot);
        if let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::take) {
            self.events.extend(peer.session.map(RosterEvent::Closed));
            self.events.push(RosterEvent::Gone(slot));
            self.free.push(slot);
            self.touch(slot, true);
        }
    }

    fn peer_mut(&mut self, slot: Slot) -> Option<&mut Peer> {
        self.peers.get_mut(slot.index())?.as_mut()
    }
}

fn parse(op: &Op) -> Option<Member> {
    serde_json::from_str(op.body.as_ref()?.as_str()).ok()
}

#[cfg(test)]
mod tests;

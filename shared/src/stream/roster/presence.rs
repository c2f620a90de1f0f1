//! Who is there: hellos, states, and the wish to forget who is not.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Peer, Roster, RosterEvent, SessionId, Slot};
use crate::stream::message::{Hello, Level};
use crate::time::Time;

/// A goodbye is committed within this, or the store is away.
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);

/// What becomes of a hello.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// On the roster as it says.
    Member,
    /// It must be committed first; `replaces` is the instance whose name it takes, its lease being over.
    Join { replaces: Option<Uuid> },
    /// Another instance has the name, and may still serve for so long.
    Held { wait: Duration },
    /// A later start of the same instance was here already.
    OlderBoot { known: u64 },
}

/// What becomes of the wish to forget a member.
#[derive(Debug, PartialEq, Eq)]
pub enum Forget {
    Absent,
    Present,
    /// Its lease still runs, for so long.
    Within(Duration),
    Now {
        instance: Uuid,
    },
}

#[derive(Debug, PartialEq)]
pub enum Heard {
    Level { before: Option<Level> },
    Bare,
}

impl Roster {
    /// What a hello needs before its welcome. Decides by name, instance and boot counter only.
    pub fn admit(&mut self, hello: &Hello, now: Time) -> Admission {
        self.pulse(now);
        let Some((_, peer)) = self.member(&hello.name) else {
            return Admission::Join { replaces: None };
        };
        if peer.instance != hello.instance {
            return match self.is_detached(peer, now) {
                true => Admission::Join {
                    replaces: Some(peer.instance),
                },
                false => Admission::Held {
                    wait: self.lease_rest(peer, now),
                },
            };
        }
        match self.boot(peer) {
            Some(known) if known > hello.boot => Admission::OlderBoot { known },
            // Its goodbye is on its way to the log; a join queues behind it.
            _ if peer
                .farewell
                .is_some_and(|(_, at)| peer.has_left() && now.since(at) < FAREWELL_WITHIN) =>
            {
                Admission::Join { replaces: None }
            }
            _ if peer.lease != Duration::from_millis(hello.lease_ms) => Admission::Join { replaces: None },
            _ => Admission::Member,
        }
    }

    /// From now on this hello's connection speaks for the member; an older one no longer does. Only for one that
    /// [`Roster::admit`] calls a member.
    pub fn attach(&mut self, hello: &Hello, now: Time) -> Option<(Slot, SessionId)> {
        let (slot, _) = self.member(&hello.name)?;
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let peer = self.peers.get_mut(slot.index())?.as_mut()?;
        let restarted = peer.boot != Some(hello.boot);
        if restarted {
            peer.boot = Some(hello.boot);
            peer.level = None;
        }
        peer.build = hello.build.clone();
        peer.last_session = Some(session);
        peer.heard = peer.heard.max(now);
        self.events
            .extend(peer.session.replace(session).map(RosterEvent::Closed));
        self.hold(slot, restarted, now);
        self.touch(slot, true);
        Some((slot, session))
    }

    /// Whether this connection still speaks for a member.
    pub fn holds(&self, slot: Slot, session: SessionId) -> bool {
        self.peer(slot).is_some_and(|peer| peer.session == Some(session))
    }

    /// A state came in. Answers the level before, if it brought a new one, or `None` when it no longer counts.
    pub fn heard(&mut self, slot: Slot, session: SessionId, level: Option<Level>, now: Time) -> Option<Heard> {
        self.pulse(now);
        if !self.holds(slot, session) {
            return None;
        }
        let peer = self.peer_mut(slot)?;
        peer.heard = peer.heard.max(now);
        let has_left = peer.has_left();
        let heard = match level {
            Some(level) => {
                let before = peer.level.replace(level);
                let reshaped = match (&before, &peer.level) {
                    (Some(before), Some(level)) => !before.differs_in_revision_only(level),
                    _ => true,
                };
                self.touch(slot, reshaped);
                Heard::Level { before }
            }
            None => Heard::Bare,
        };
        if !has_left {
            self.hold(slot, false, now);
        }
        Some(heard)
    }

    /// It says goodbye; what is to be committed follows.
    pub fn farewell(&mut self, slot: Slot, session: SessionId, now: Time) {
        if self.holds(slot, session)
            && let Some(peer) = self.peer_mut(slot)
        {
            peer.farewell = Some((session, now));
            self.release(slot);
        }
    }

    pub fn detach(&mut self, slot: Slot, session: SessionId, now: Time) {
        self.pulse(now);
        if self.holds(slot, session)
            && let Some(peer) = self.peer_mut(slot)
        {
            peer.session = None;
            peer.absent_since = now;
            self.touch(slot, true);
        }
    }

    /// Every connection must begin anew.
    pub fn close_all(&mut self, now: Time) {
        for place in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[place] else { continue };
            if let Some(session) = peer.session.take() {
                peer.absent_since = now;
                self.events.push(RosterEvent::Closed(session));
                self.touch(Slot(place as u32), true);
            }
        }
    }

    /// When this control plane last began to listen: its start, or the end of its last pause.
    pub fn resumed(&self) -> Time {
        self.resumed
    }

    /// Whether `name` may be removed by someone else than itself.
    pub fn forget(&mut self, name: &str, now: Time) -> Forget {
        self.pulse(now);
        match self.member(name) {
            None => Forget::Absent,
            Some((_, peer)) if self.is_detached(peer, now) => Forget::Now {
                instance: peer.instance,
            },
            Some((_, peer)) if self.is_present(peer) => Forget::Present,
            Some((_, peer)) => Forget::Within(self.lease_rest(peer, now)),
        }
    }

    /// Members that were away for so long, and are beyond their lease.
    pub fn forgotten(&self, after: Duration, now: Time) -> Vec<(Arc<str>, Uuid)> {
        let gone =
            |peer: &&Peer| !peer.is_connected() && now.since(peer.absent_since) >= after && self.is_detached(peer, now);
        let members = self.members.values().filter_map(|slot| self.peer(*slot));
        members
            .filter(gone)
            .map(|peer| (peer.name.clone(), peer.instance))
            .collect()
    }
}

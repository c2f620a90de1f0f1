//! The roster as `GET /v1/fleet` shows it.

use std::sync::Arc;

use serde::Serialize;

use crate::change::Revision;
use crate::stream::hub::Hub;
use crate::stream::message::{Level, Refused};
use crate::stream::roster::Peer;
use crate::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    Present,
    /// Not connected, within its lease: it may serve, and is waited for.
    Absent,
    /// Beyond its lease: it may serve an older table, and is not waited for.
    Detached,
}

/// The least of what is told of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Arc<str>,
    pub state: Presence,
    /// As in [`MemberView`].
    pub applied: Revision,
}

#[derive(Clone, Debug, Serialize)]
pub struct MemberView {
    pub name: Arc<str>,
    pub state: Presence,
    /// The last revision at which what it holds was all there is: the head of the log for a proxy that lacks nothing.
    pub applied: Revision,
    /// Revisions between `applied` and the head.
    pub lag: u64,
    pub build: Arc<str>,
    /// Milliseconds.
    #[serde(serialize_with = "as_text")]
    pub lease: u64,
    pub persisted: bool,
    pub draining: Vec<DrainingView>,
    pub warming: Vec<WarmingView>,
    pub refused: Vec<Refused>,
    /// The control plane that has its stream open, if it is another one.
    #[serde(skip)]
    pub elsewhere: Option<Arc<str>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DrainingView {
    /// `service/id`
    pub upstream: String,
    pub in_flight: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct WarmingView {
    /// `service/id`
    pub upstream: String,
    pub last: String,
}

fn as_text<S: serde::Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match ms % 1_000 {
        0 => serializer.collect_str(&format_args!("{}s", ms / 1_000)),
        _ => serializer.collect_str(&format_args!("{ms}ms")),
    }
}

impl Hub {
    /// All members, by name.
    pub fn members(&mut self, now: Time) -> Vec<MemberView> {
        self.roster.pulse(now);
        self.roster
            .members()
            .into_iter()
            .map(|peer| self.view(peer, now))
            .collect()
    }

    /// All members, in the order of their names.
    pub fn standings(&mut self, now: Time) -> Vec<Member> {
        self.roster.pulse(now);
        let standing = |peer: &Peer| Member {
            name: peer.name().clone(),
            state: self.presence(peer, now),
            applied: self.applied(peer),
        };
        self.roster.members().into_iter().map(standing).collect()
    }

    fn presence(&self, peer: &Peer, now: Time) -> Presence {
        match (self.roster.is_detached(peer, now), self.roster.is_present(peer)) {
            (true, _) => Presence::Detached,
            (false, true) => Presence::Present,
            (false, false) => Presence::Absent,
        }
    }

    fn applied(&self, peer: &Peer) -> Revision {
        match self.roster.latest(peer) {
            Some(level) => self.ring.unchanged_until(level.applied, self.revision()),
            None => Revision::ZERO,
        }
    }

    pub fn member(&mut self, name: &str, now: Time) -> Option<MemberView> {
        self.roster.pulse(now);
        let (_, peer) = self.roster.member(name)?;
        Some(self.view(peer, now))
    }

    fn view(&self, peer: &Peer, now: Time) -> MemberView {
        let nothing = Level::default();
        let level = self.roster.latest(peer).unwrap_or(&nothing);
        let applied = self.applied(peer);
        MemberView {
            name: peer.name().clone(),
            state: self.presence(peer, now),
            applied,
            lag: self.revision().0.saturating_sub(applied.0),
            build: self.roster.build(peer).clone(),
            lease: u64::try_from(peer.lease().as_millis()).unwrap_or(u64::MAX),
            persisted: level.persisted,
            draining: level
                .draining
                .iter()
                .map(|d| DrainingView {
                    upstream: format!("{}/{}", d.service, d.id),
                    in_flight: d.in_flight,
                })
                .collect(),
            warming: level
                .warming
                .iter()
                .map(|w| WarmingView {
                    upstream: format!("{}/{}", w.service, w.id),
                    last: w.last.to_string(),
                })
                .collect(),
            refused: level.refused.clone(),
            elsewhere: (!peer.is_connected())
                .then(|| self.roster.seat(peer).map(Arc::from))
                .flatten(),
        }
    }
}

//! The owners in other control planes: who is there, which proxies are there, and what is passed on to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::duplex::{Address, Credentials};
use net::ndjson;
use shared::quota::{Down, Handover, Up};
use shared::stream::planes::PlaneId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::clock::Clock;
use super::link::Link;
use super::peers::{Answer, Incoming, Line};
use crate::planes::Sharing;

/// One that was never heard counts as there for so long after its row was seen.
const GREET_WITHIN: Duration = Duration::from_secs(2);
/// One that is silent for so long does not; it is asked three times within that.
const SILENT_AFTER: Duration = Duration::from_millis(1_300);
/// Nor one whose stream was lost so long ago and is not open again.
const LOST_AFTER: Duration = Duration::from_millis(300);
/// Buffers that wait for one stream.
const OUTGOING_MAX: usize = 48;
/// Others read longer lines no more.
const LINE_MAX: usize = 8 << 20;

pub struct Relay {
    own: PlaneId,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    incoming: mpsc::Sender<Incoming>,
    peers: BTreeMap<PlaneId, Peer>,
    /// Through which other control plane a proxy was heard last.
    routes: BTreeMap<Uuid, PlaneId>,
}

struct Peer {
    url: Arc<str>,
    seen: Instant,
    outgoing: mpsc::Sender<Bytes>,
    _task: AbortOnDropHandle<()>,
    /// The incarnation of its owner.
    owner: Option<Uuid>,
    heard: Option<Instant>,
    lost: Option<Instant>,
    has_left: bool,
}

impl Peer {
    fn is_there(&self, now: Instant) -> bool {
        let heard = match self.heard {
            Some(heard) => now - heard < SILENT_AFTER,
            None => now - self.seen < GREET_WITHIN,
        };
        let lost = self.heard.is_some() && self.lost.is_some_and(|lost| now - lost >= LOST_AFTER);
        heard && !lost && !self.has_left
    }

    fn send(&self, line: &Line) {
        let line = ndjson::encode(line);
        if line.len() <= LINE_MAX {
            // One that takes no more is seen by its silence.
            let _ = self.outgoing.try_send(line);
        }
    }
}

impl Relay {
    pub fn new(sharing: &Sharing, clock: Arc<dyn Clock>, incoming: mpsc::Sender<Incoming>) -> Relay {
        Relay {
            own: sharing.id,
            credentials: sharing.credentials.clone(),
            clock,
            incoming,
            peers: BTreeMap::new(),
            routes: BTreeMap::new(),
        }
    }

    pub fn own(&self) -> PlaneId {
        self.own
    }

    /// Speaks with those whose rows are alive, and with nobody else.
    pub fn look(&mut self, alive: Vec<(PlaneId, Arc<str>)>) {
        let alive: BTreeMap<PlaneId, Arc<str>> = alive.into_iter().collect();
        self.peers.retain(|id, peer| alive.get(id) == Some(&peer.url));
        for (id, url) in alive {
            if !self.peers.contains_key(&id)
                && let Ok(address) = Address::parse(&url)
            {
                let peer = self.dial(id, url, address);
                self.peers.insert(id, peer);
            }
        }
    }

    fn dial(&self, peer: PlaneId, url: Arc<str>, address: Address) -> Peer {
        let (outgoing, lines) = mpsc::channel(OUTGOING_MAX);
        let link = Link {
            own: self.own,
            peer,
            address,
            credentials: self.credentials.clone(),
            clock: self.clock.clone(),
            incoming: self.incoming.clone(),
        };
        Peer {
            url,
            seen: Instant::now(),
            outgoing,
            _task: AbortOnDropHandle::new(tokio::spawn(link.run(lines))),
            owner: None,
            heard: None,
            lost: None,
            has_left: false,
        }
    }

    /// Those with whom the shards are shared.
    pub fn there(&self) -> Vec<Uuid> {
        let now = Instant::now();
        let there = self.peers.iter().filter(|(_, peer)| peer.is_there(now));
        there.map(|(id, _)| id.0).collect()
    }

    /// Where they are reached.
    pub fn urls(&self) -> Vec<Arc<str>> {
        let now = Instant::now();
        let there = self.peers.values().filter(|peer| peer.is_there(now));
        there.map(|peer| peer.url.clone()).collect()
    }

    /// Whether it is what that control plane itself says: another one may have its address by now.
    pub fn answered(&mut self, from: PlaneId, answer: &Answer) -> bool {
        let Answer::Time { plane, owner, .. } = answer;
        let Some(peer) = self.peers.get_mut(&from).filter(|_| *plane == from) else {
            return false;
        };
        peer.heard = Some(Instant::now());
        peer.lost = None;
        peer.owner = *owner;
        true
    }

    pub fn lost(&mut self, from: PlaneId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.lost = peer.lost.or(Some(Instant::now()));
        }
    }

    pub fn left(&mut self, from: PlaneId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.has_left = true;
        }
    }

    /// A proxy was heard through another control plane.
    pub fn routed(&mut self, instance: Uuid, through: PlaneId) {
        self.routes.insert(instance, through);
    }

    /// Only of members is it remembered where they are.
    pub fn forget_others(&mut self, members: &BTreeSet<Uuid>) {
        self.routes.retain(|instance, _| members.contains(instance));
    }

    /// From a proxy here, to the owner that it names, if it is known where that is.
    pub fn up(&self, up: Box<Up>) {
        let there = self.peers.values().find(|peer| peer.owner == Some(up.to));
        if let Some(peer) = there {
            peer.send(&Line::Up(up));
        }
    }

    /// To a proxy that is not here: where it was heard last, or anywhere.
    pub fn down(&self, down: Down) {
        let route = self.routes.get(&down.to.instance).and_then(|id| self.peers.get(id));
        let line = Line::Down(Box::new(down));
        match route {
            Some(peer) => peer.send(&line),
            None => self.peers.values().for_each(|peer| peer.send(&line)),
        }
    }

    pub fn hand_over(&self, handover: Handover) {
        let line = Line::Handover(Box::new(handover));
        self.peers.values().for_each(|peer| peer.send(&line));
    }

    /// Says that this one is about to end. What was sent before was read by those that answer a question of now.
    pub fn leave(&self) -> BTreeSet<PlaneId> {
        let now = Instant::now();
        let asked = self.clock.read().mono;
        let there = self.peers.iter().filter(|(_, peer)| peer.is_there(now));
        let told = there.map(|(id, peer)| {
            peer.send(&Line::Leaving {});
            peer.send(&Line::Ask { from: self.own, asked });
            *id
        });
        told.collect()
    }
}

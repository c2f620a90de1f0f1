//! Control planes that listen to each other, over connections that stall, break, and go on existing for one side only.

use bytes::Bytes;
use shared::stream::planes::PlaneId;
use shared::stream::planes::listener::{self, Listener};
use shared::stream::planes::message::{Asked, Told};
use shared::stream::planes::teller::{self, Teller};

use super::World;
use crate::dice::{MICRO, MILLI, SECOND};
use crate::network::{Pipe, WINDOW};
use crate::world::Actor;

pub type PeerId = u64;

/// How one plane listens to one other.
pub struct Hearing {
    pub listener: Listener,
    /// Whose row has that address.
    pub of: usize,
    pub link: Option<PeerId>,
}

/// A connection by which one plane listens to another.
pub struct PeerLink {
    listening: usize,
    id: PlaneId,
    telling: usize,
    pub teller: Option<Teller>,
    asked: Pipe,
    told: Pipe,
    on_its_way: u32,
    /// A buffer is handed out that the connection had no room for yet.
    full: bool,
    /// News is on its way to the teller.
    woken: bool,
}

/// What travels to the one that listens.
enum Word {
    Connected,
    Lines(Bytes),
    End,
}

impl World {
    pub(super) fn tick_listeners(&mut self, n: usize) {
        let Some(sharing) = self.sharing(n) else { return };
        let heard: Vec<PlaneId> = sharing.hearing.keys().copied().collect();
        for id in heard {
            self.listen(n, id, listener::Input::Tick);
        }
        self.after(Actor::Plane(n), 200 * MILLI, move |world| world.tick_listeners(n));
    }

    fn listen(&mut self, n: usize, id: PlaneId, input: listener::Input) {
        let Some(mut hearing) = self.sharing(n).and_then(|sharing| sharing.hearing.remove(&id)) else {
            return;
        };
        let outputs = self.hub(n, |hub, now| hearing.listener.handle(input, hub, now));
        for output in outputs.unwrap_or_default() {
            match output {
                listener::Output::Connect => hearing.link = Some(self.dial_peer(n, id, hearing.of)),
                listener::Output::Send(asked) => {
                    if let Some(link) = hearing.link {
                        self.send_asked(link, asked);
                    }
                }
                listener::Output::Close => {
                    if let Some(link) = hearing.link.take() {
                        self.hang_up_peer(link);
                    }
                }
                listener::Output::Moved(_) => {
                    self.count.add("heads told by others");
                    self.look_for_tail(n);
                }
            }
        }
        if let Some(sharing) = self.sharing(n) {
            sharing.hearing.insert(id, hearing);
        }
    }

    /// Its row is gone, and with it the wish to hear it.
    pub(super) fn leave_peer(&mut self, n: usize, id: PlaneId) {
        let hearing = self.sharing(n).and_then(|sharing| sharing.hearing.remove(&id));
        if let Some(link) = hearing.and_then(|hearing| hearing.link) {
            self.hang_up_peer(link);
        }
    }

    fn dial_peer(&mut self, n: usize, id: PlaneId, of: usize) -> PeerId {
        self.last_peer += 1;
        let link = self.last_peer;
        let connection = PeerLink {
            listening: n,
            id,
            telling: of,
            teller: None,
            asked: Pipe::default(),
            told: Pipe::default(),
            on_its_way: 0,
            full: false,
            woken: false,
        };
        self.peers.insert(link, connection);
        let Some(at) = self.asked_arrival(link) else {
            return link;
        };
        match self.planes[of].run.is_some() {
            true => self.at(Actor::Plane(of), at, move |world| world.peer_dialed(link)),
            false => self.at(Actor::World, at, move |world| world.send_told(link, Word::End)),
        }
        link
    }

    fn peer_dialed(&mut self, link: PeerId) {
        let Some(telling) = self.peers.get(&link).map(|peer| peer.telling) else {
            return;
        };
        let now = self.plane_time(telling);
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.teller = Some(Teller::new(now));
        }
        self.send_told(link, Word::Connected);
        self.tick_teller(link);
    }

    fn tick_teller(&mut self, link: PeerId) {
        let open = self.peers.get(&link).filter(|peer| peer.teller.is_some());
        if let Some(n) = open.map(|peer| peer.telling) {
            self.tell(link, teller::Input::Tick);
            self.after(Actor::Plane(n), 500 * MILLI, move |world| world.tick_teller(link));
        }
    }

    fn tell(&mut self, link: PeerId, input: teller::Input) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let n = peer.telling;
        let Some(mut teller) = peer.teller.take() else { return };
        let output = self.hub(n, |hub, now| teller.handle(input, hub, now)).flatten();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.teller = Some(teller);
        match output {
            Some(teller::Output::Send(bytes)) => {
                peer.on_its_way += 1;
                peer.full = peer.on_its_way >= WINDOW;
                if !peer.full {
                    let soon = self.dice.gap();
                    self.after(Actor::Plane(n), soon, move |world| {
                        world.tell(link, teller::Input::Written);
                    });
                }
                self.send_told(link, Word::Lines(bytes));
            }
            Some(teller::Output::Close | teller::Output::Refuse(_)) => {
                peer.teller = None;
                self.count.add("control planes that end a peer's connection");
                self.send_told(link, Word::End);
            }
            Some(teller::Output::Accept) | None => {}
        }
    }

    /// There is news in the hub of a plane: for all that listen to it.
    pub(super) fn wake_tellers(&mut self, n: usize) {
        let mut woken = Vec::new();
        for (link, peer) in &mut self.peers {
            if peer.telling == n && peer.teller.is_some() && !std::mem::replace(&mut peer.woken, true) {
                woken.push(*link);
            }
        }
        for link in woken {
            let soon = self.dice.below(5 * MILLI);
            self.after(Actor::Plane(n), soon, move |world| {
                if let Some(peer) = world.peers.get_mut(&link) {
                    peer.woken = false;
                }
                world.tell(link, teller::Input::Wake);
            });
        }
    }

    fn asked_arrival(&mut self, link: PeerId) -> Option<u64> {
        let latency = self.latency();
        let peer = self.peers.get(&link)?;
        let passes = self.passes_at(Actor::Plane(peer.listening), Actor::Plane(peer.telling));
        let at = (self.now + latency).max(passes);
        Some(self.peers.get_mut(&link)?.asked.after(at))
    }

    fn send_asked(&mut self, link: PeerId, asked: Asked) {
        let Some(at) = self.asked_arrival(link) else { return };
        let Some(peer) = self.peers.get(&link) else { return };
        self.at(Actor::Plane(peer.telling), at, move |world| {
            if world.peers.get(&link).is_some_and(|peer| !peer.asked.lost) {
                world.tell(link, teller::Input::Line(asked));
            }
        });
    }

    fn send_told(&mut self, link: PeerId, word: Word) {
        let latency = self.latency();
        let Some(peer) = self.peers.get(&link) else { return };
        let (from, to) = (peer.telling, peer.listening);
        let at = (self.now + latency).max(self.passes_at(Actor::Plane(from), Actor::Plane(to)));
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let at = peer.told.after(at);
        self.at(Actor::Plane(to), at, move |world| world.told(link, word));
    }

    fn told(&mut self, link: PeerId, word: Word) {
        let Some(peer) = self.peers.get_mut(&link).filter(|peer| !peer.told.lost) else {
            return;
        };
        let (n, id, telling) = (peer.listening, peer.id, peer.telling);
        let mut room = false;
        if let Word::Lines(_) = &word {
            peer.on_its_way -= 1;
            room = std::mem::take(&mut peer.full);
        }
        if room {
            self.after(Actor::Plane(telling), MICRO, move |world| {
                world.tell(link, teller::Input::Written);
            });
        }
        let hearing = self.sharing(n).and_then(|sharing| sharing.hearing.get_mut(&id));
        let Some(hearing) = hearing.filter(|hearing| hearing.link == Some(link)) else {
            return;
        };
        let input = match word {
            Word::Connected => listener::Input::Connected,
            Word::Lines(bytes) => {
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let lines: Vec<Told> = lines
                    .map(|line| serde_json::from_slice(line).expect("what was sent can be read"))
                    .collect();
                listener::Input::Lines(lines)
            }
            Word::End => {
                hearing.link = None;
                self.peers.remove(&link);
                listener::Input::Disconnected
            }
        };
        self.listen(n, id, input);
    }

    /// Whoever tells learns of it some time.
    fn hang_up_peer(&mut self, link: PeerId) {
        let within = self.dice.one(&[MILLI, 50 * MILLI, 20 * SECOND]);
        let delay = self.dice.below(within);
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.told.lost = true;
        self.after(Actor::World, delay, move |world| {
            world.peers.remove(&link);
        });
    }

    /// The network drops a connection; perhaps only one side learns of it.
    pub fn cut_peer(&mut self, link: PeerId) {
        let kind = self.dice.below(3);
        let Some(peer) = self.peers.get_mut(&link) else { return };
        (peer.asked.lost, peer.told.lost) = (kind != 1, true);
        let (listening, id) = (peer.listening, peer.id);
        self.count.add("connections of control planes cut");
        self.note(|| format!("net: what plane {listening} listens to on {link} is cut ({kind})"));
        if kind != 2 {
            let delay = self.dice.below(50 * MILLI);
            self.after(Actor::Plane(listening), delay, move |world| {
                let hearing = world
                    .sharing(listening)
                    .and_then(|sharing| sharing.hearing.get_mut(&id));
                if let Some(hearing) = hearing.filter(|hearing| hearing.link == Some(link)) {
                    hearing.link = None;
                    world.listen(listening, id, listener::Input::Disconnected);
                }
            });
        }
    }

    /// A plane is gone: who listened to it learns of it soon, or by its silence.
    pub(super) fn end_peers(&mut self, n: usize) {
        let told: Vec<PeerId> = self.peers.keys().copied().collect();
        for link in told {
            let Some(peer) = self.peers.get_mut(&link) else {
                continue;
            };
            if peer.listening == n {
                self.hang_up_peer(link);
            } else if peer.telling == n {
                peer.teller = None;
                if !self.dice.percent(15) {
                    self.send_told(link, Word::End);
                }
            }
        }
    }

    /// Some connection between two planes.
    pub fn some_peer(&mut self) -> Option<PeerId> {
        let links: Vec<PeerId> = self.peers.keys().copied().collect();
        (!links.is_empty()).then(|| self.dice.one(&links))
    }
}

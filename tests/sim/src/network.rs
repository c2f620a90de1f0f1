//! Connections: each direction is in order and takes its time. Cut, it loses what is on its way, and either side may go
//! on believing in it for long; what was sent on an old one may arrive after a new one has begun.

use std::time::Duration;

use bytes::Bytes;
use shared::stream::hub::Refusal;
use shared::stream::message::{Down, Up};
use shared::stream::publisher::{self, Publisher};
use shared::stream::subscriber::{Disconnected, Input};
use uuid::Uuid;

use crate::dice::{MICRO, MILLI, SECOND};
use crate::world::{Actor, World};

pub type ConnId = u64;

/// Buffers that a connection takes whose reader does not read.
pub const WINDOW: u32 = 4;

#[derive(Default)]
pub struct Pipe {
    /// When what was sent last arrives.
    last: u64,
    pub lost: bool,
}

impl Pipe {
    /// When something arrives that would at that time, if nothing were before it.
    pub fn after(&mut self, at: u64) -> u64 {
        self.last = self.last.max(at);
        self.last
    }
}

pub struct Connection {
    pub proxy: usize,
    pub plane: usize,
    proxy_life: u64,
    plane_life: u64,
    pub publisher: Option<Publisher>,
    /// Who said hello on it.
    pub instance: Uuid,
    up: Pipe,
    down: Pipe,
    on_its_way: u32,
    /// A buffer is handed out that the connection had no room for yet.
    full: bool,
    /// The plane's side has closed: what follows is of no account.
    over: bool,
}

/// What travels down beside lines.
enum Word {
    Connected,
    Lines(Bytes),
    Refused { status: u16, detail: String, held: bool },
    End,
}

impl World {
    /// Nothing gets from one to the other before that.
    pub fn passes_at(&self, from: Actor, to: Actor) -> u64 {
        self.faults.severed.get(&(from, to)).copied().unwrap_or_default()
    }

    pub fn latency(&mut self) -> u64 {
        match self.dice.below(100) {
            0..90 => self.dice.between(50 * MICRO, 2 * MILLI),
            90..99 => self.dice.between(2 * MILLI, 60 * MILLI),
            _ => self.dice.between(60 * MILLI, 900 * MILLI),
        }
    }

    /// A proxy dials one of its addresses; at most one connection is its own.
    pub fn dial(&mut self, proxy: usize, url: usize) -> ConnId {
        let n = (url + self.proxies[proxy].first_address) % self.planes.len();
        self.dials(proxy, n);
        self.last_connection += 1;
        let id = self.last_connection;
        let connection = Connection {
            proxy,
            plane: n,
            proxy_life: self.proxies[proxy].life,
            plane_life: self.planes[n].life,
            publisher: None,
            instance: self.proxies[proxy].instance,
            up: Pipe::default(),
            down: Pipe::default(),
            on_its_way: 0,
            full: false,
            over: false,
        };
        self.connections.insert(id, connection);
        let Some(at) = self.up_arrival(id) else { return id };
        match self.planes[n].run.is_some() {
            true => self.at(Actor::Plane(n), at, move |world| world.dialed(id)),
            false => self.at(Actor::World, at, move |world| {
                world.send_down(id, Word::End);
            }),
        }
        id
    }

    fn dialed(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let plane = &self.planes[connection.plane];
        connection.publisher = Some(Publisher::new(plane.clock.read(self.now)));
        connection.plane_life = plane.life;
        let n = connection.plane;
        self.send_down(id, Word::Connected);
        let phase = self.dice.below(SECOND);
        self.after(Actor::Plane(n), phase, move |world| world.tick_connection(id));
    }

    fn tick_connection(&mut self, id: ConnId) {
        let open = self.connections.get(&id).filter(|c| c.publisher.is_some());
        if let Some(n) = open.map(|connection| connection.plane) {
            self.publish(id, publisher::Input::Tick);
            self.after(Actor::Plane(n), SECOND, move |world| world.tick_connection(id));
        }
    }

    fn up_arrival(&mut self, id: ConnId) -> Option<u64> {
        let latency = self.latency();
        let connection = self.connections.get(&id)?;
        let (proxy, plane) = (Actor::Proxy(connection.proxy), Actor::Plane(connection.plane));
        let stalled = self.proxies[connection.proxy].up_stalled_until;
        let at = (self.now + latency).max(stalled).max(self.passes_at(proxy, plane));
        Some(self.connections.get_mut(&id)?.up.after(at))
    }

    pub fn send_up(&mut self, id: ConnId, up: &Up) {
        let line = serde_json::to_vec(up).expect("a message is JSON");
        let Some(at) = self.up_arrival(id) else { return };
        let n = self.connections[&id].plane;
        // The plane of the time at which it arrives; whether it is the one that was dialed shows then.
        self.at(Actor::Plane(n), at, move |world| {
            let life = world.planes[n].life;
            let whole = |c: &Connection| !c.up.lost && c.plane_life == life && c.publisher.is_some();
            if world.connections.get(&id).is_some_and(whole) {
                let up: Up = serde_json::from_slice(&line).expect("what was sent can be read");
                world.heard(id, &up);
                world.publish(id, publisher::Input::Line(up));
            }
        });
    }

    pub fn send_lines(&mut self, id: ConnId, bytes: Bytes) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.on_its_way += 1;
        connection.full = connection.on_its_way >= WINDOW;
        let n = connection.plane;
        if !connection.full {
            let soon = self.dice.gap();
            self.after(Actor::Plane(n), soon, move |world| {
                world.publish(id, publisher::Input::Written)
            });
        }
        self.send_down(id, Word::Lines(bytes));
    }

    pub fn refuse(&mut self, id: ConnId, refusal: Option<&Refusal>) {
        let (status, detail) = match refusal {
            Some(refusal) => (409, refusal.to_string()),
            None => (503, "the proxy could not join".to_owned()),
        };
        let held = refusal.is_some_and(Refusal::is_held);
        self.send_down(id, Word::Refused { status, detail, held });
        self.close_plane_side(id);
    }

    /// The plane closes; what it sent before still arrives.
    pub fn end_down(&mut self, id: ConnId) {
        self.send_down(id, Word::End);
        self.close_plane_side(id);
    }

    fn close_plane_side(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.publisher = None;
            connection.over = true;
        }
    }

    fn send_down(&mut self, id: ConnId, word: Word) {
        let latency = self.latency();
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (proxy, plane) = (connection.proxy, connection.plane);
        if connection.proxy_life != self.proxies[proxy].life {
            return;
        }
        let stalled = self.proxies[proxy].down_stalled_until;
        let severed = self.passes_at(Actor::Plane(plane), Actor::Proxy(proxy));
        let at = (self.now + latency).max(stalled).max(severed);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let at = connection.down.after(at);
        self.at(Actor::Proxy(proxy), at, move |world| world.arrived(id, proxy, word));
    }

    fn arrived(&mut self, id: ConnId, proxy: usize, word: Word) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.down.lost {
            return;
        }
        if let Word::Lines(_) = &word {
            connection.on_its_way -= 1;
            if std::mem::take(&mut connection.full) {
                let n = connection.plane;
                self.after(Actor::Plane(n), MICRO, move |world| {
                    world.publish(id, publisher::Input::Written)
                });
            }
        }
        if self.proxies[proxy].connection() != Some(id) {
            return;
        }
        let input = match word {
            Word::Connected => Input::Connected,
            Word::Lines(bytes) => {
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let lines: Vec<Down> = lines
                    .map(|line| serde_json::from_slice(line).expect("what was sent can be read"))
                    .collect();
                Input::Lines(lines)
            }
            Word::Refused { status, detail, held } => {
                Input::Disconnected(Disconnected::Refused { status, detail, held })
            }
            Word::End => Input::Disconnected(Disconnected::Lost("closed".into())),
        };
        if matches!(input, Input::Disconnected(_)) {
            self.connections.remove(&id);
            self.proxies[proxy].forget_connection();
        }
        self.give(proxy, input);
    }

    /// The proxy hangs up, or is gone; `within`: the plane learns of it in so much time.
    pub fn hang_up(&mut self, id: ConnId, within: u64) {
        let delay = self.dice.below(within.max(1));
        let Some(arrival) = self.up_arrival(id) else { return };
        let at = arrival.max(self.now + delay);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.down.lost = true;
            connection.up.last = at;
            let n = connection.plane;
            self.at(Actor::Plane(n), at, move |world| {
                world.publish(id, publisher::Input::Ended);
                world.connections.remove(&id);
            });
        }
    }

    /// The network drops a connection. Either side learns of it at its own time, or not at all.
    pub fn cut(&mut self, id: ConnId) {
        let kind = self.dice.below(3);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (proxy, n) = (connection.proxy, connection.plane);
        self.count.add("cuts");
        self.note(|| format!("net: connection {id} of proxy {proxy} is cut ({kind})"));
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (proxy_learns, plane_learns) = match kind {
            0 => {
                (connection.up.lost, connection.down.lost) = (true, true);
                (Some(50 * MILLI), Some(50 * MILLI))
            }
            // The plane believes in it for long, and what was said before may come late.
            1 => {
                connection.down.lost = true;
                self.count.add("half-open connections");
                (Some(50 * MILLI), Some(25 * SECOND))
            }
            _ => {
                (connection.up.lost, connection.down.lost) = (true, true);
                self.count.add("half-open connections");
                (None, Some(500 * MILLI))
            }
        };
        let life = self.proxies[proxy].life;
        if let Some(within) = proxy_learns {
            let delay = self.dice.below(within);
            self.after(Actor::Proxy(proxy), delay, move |world| {
                if world.proxies[proxy].life == life && world.proxies[proxy].connection() == Some(id) {
                    world.proxies[proxy].forget_connection();
                    world.give(proxy, Input::Disconnected(Disconnected::Lost("reset".into())));
                }
            });
        }
        if let Some(within) = plane_learns {
            let delay = self.dice.below(within);
            self.after(Actor::Plane(n), delay, move |world| {
                world.publish(id, publisher::Input::Ended);
                world.close_plane_side(id);
            });
        }
    }

    /// The plane is gone: its proxies learn of it soon, or by its silence.
    pub fn cut_all(&mut self, n: usize) {
        let own = self.connections.iter().filter(|(_, connection)| connection.plane == n);
        let ids: Vec<ConnId> = own.map(|(id, _)| *id).collect();
        for id in ids {
            self.close_plane_side(id);
            let silent = self.dice.percent(15);
            if !silent {
                self.send_down(id, Word::End);
            }
        }
    }

    /// Nothing gets through in these directions for a while; nothing is lost either.
    pub fn stall(&mut self, proxy: usize, up: bool, down: bool, time: Duration) {
        let until = self.now + time.as_nanos() as u64;
        let node = &mut self.proxies[proxy];
        if up {
            node.up_stalled_until = until;
        }
        if down {
            node.down_stalled_until = until;
        }
    }
}

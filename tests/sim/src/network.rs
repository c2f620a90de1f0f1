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
const WINDOW: u32 = 4;

#[derive(Default)]
struct Pipe {
    /// When what was sent last arrives.
    last: u64,
    lost: bool,
}

pub struct Connection {
    pub proxy: usize,
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
    Refused { status: u16, detail: String },
    End,
}

impl World {
    fn latency(&mut self) -> u64 {
        match self.dice.below(100) {
            0..90 => self.dice.between(50 * MICRO, 2 * MILLI),
            90..99 => self.dice.between(2 * MILLI, 60 * MILLI),
            _ => self.dice.between(60 * MILLI, 900 * MILLI),
        }
    }

    /// A proxy dials; at most one connection is its own.
    pub fn dial(&mut self, proxy: usize) -> ConnId {
        self.last_connection += 1;
        let id = self.last_connection;
        let connection = Connection {
            proxy,
            proxy_life: self.proxies[proxy].life,
            plane_life: self.plane.life,
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
        match self.plane.run.is_some() {
            true => self.at(Actor::Plane, at, move |world| world.dialed(id)),
            false => self.at(Actor::World, at, move |world| {
                world.send_down(id, Word::End);
            }),
        }
        id
    }

    fn dialed(&mut self, id: ConnId) {
        let now = self.plane_time();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.publisher = Some(Publisher::new(now));
        connection.plane_life = self.plane.life;
        self.send_down(id, Word::Connected);
        let phase = self.dice.below(SECOND);
        self.after(Actor::Plane, phase, move |world| world.tick_connection(id));
    }

    fn tick_connection(&mut self, id: ConnId) {
        let open = self.connections.get(&id).is_some_and(|c| c.publisher.is_some());
        if open {
            self.publish(id, publisher::Input::Tick);
            self.after(Actor::Plane, SECOND, move |world| world.tick_connection(id));
        }
    }

    fn up_arrival(&mut self, id: ConnId) -> Option<u64> {
        let latency = self.latency();
        let connection = self.connections.get_mut(&id)?;
        let stalled = self.proxies[connection.proxy].up_stalled_until;
        connection.up.last = (self.now + latency).max(connection.up.last).max(stalled);
        Some(connection.up.last)
    }

    pub fn send_up(&mut self, id: ConnId, up: &Up) {
        let line = serde_json::to_vec(up).expect("a message is JSON");
        let Some(at) = self.up_arrival(id) else { return };
        // The plane of the time at which it arrives; whether it is the one that was dialed shows then.
        self.at(Actor::Plane, at, move |world| {
            let whole = |c: &&mut Connection| !c.up.lost && c.plane_life == world.plane.life && c.publisher.is_some();
            if world.connections.get_mut(&id).as_ref().is_some_and(whole) {
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
        if !connection.full {
            let soon = self.dice.gap();
            self.after(Actor::Plane, soon, move |world| {
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
        self.send_down(id, Word::Refused { status, detail });
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
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let proxy = connection.proxy;
        if connection.proxy_life != self.proxies[proxy].life {
            return;
        }
        let stalled = self.proxies[proxy].down_stalled_until;
        connection.down.last = (self.now + latency).max(connection.down.last).max(stalled);
        let at = connection.down.last;
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
                self.after(Actor::Plane, MICRO, move |world| {
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
            Word::Refused { status, detail } => Input::Disconnected(Disconnected::Refused { status, detail }),
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
        }
        self.at(Actor::Plane, at, move |world| {
            world.publish(id, publisher::Input::Ended);
            world.connections.remove(&id);
        });
    }

    /// The network drops a connection. Either side learns of it at its own time, or not at all.
    pub fn cut(&mut self, id: ConnId) {
        let kind = self.dice.below(3);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let proxy = connection.proxy;
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
            self.after(Actor::Plane, delay, move |world| {
                world.publish(id, publisher::Input::Ended);
                world.close_plane_side(id);
            });
        }
    }

    /// The plane is gone: its proxies learn of it soon, or by its silence.
    pub fn cut_all(&mut self) {
        let ids: Vec<ConnId> = self.connections.keys().copied().collect();
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

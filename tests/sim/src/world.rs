//! True time, the queue of what happens next, and everyone who lives in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Instant;

use shared::change::Revision;
use uuid::Uuid;

use crate::clients::Clients;
use crate::coverage::Coverage;
use crate::dice::{Dice, SECOND};
use crate::faults::Faults;
use crate::guard::Guard;
use crate::network::{ConnId, Connection};
use crate::plane::{PeerId, PeerLink, Plane, Rows};
use crate::proxy::Proxy;
use crate::volume::Volume;

/// Whose doing an event is: it dies with its process, and waits while that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    World,
    Plane(usize),
    Proxy(usize),
}

type Action = Box<dyn FnOnce(&mut World)>;

struct Event {
    at: u64,
    /// Events of one moment happen in the order in which they were foreseen.
    number: u64,
    actor: Actor,
    life: u64,
    action: Action,
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.number == other.number
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub struct World {
    /// True time, nanoseconds.
    pub now: u64,
    /// What `now` 0 is to those who count in instants.
    pub origin: Instant,
    pub dice: Dice,
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    /// More than one only on a store that several share.
    pub planes: Vec<Plane>,
    /// The store outlives its control planes, and they know of each other.
    pub shared: bool,
    pub volumes: Vec<Volume>,
    /// Which of them the control planes run on.
    pub mounted: usize,
    pub proxies: Vec<Proxy>,
    /// All that there were.
    pub instances: BTreeSet<(Arc<str>, Uuid)>,
    /// What an instance has acknowledged, by store and how often that had gone back.
    pub acknowledged: BTreeMap<(Uuid, usize, u64), Revision>,
    pub connections: BTreeMap<ConnId, Connection>,
    pub last_connection: u64,
    pub rows: Rows,
    pub peers: BTreeMap<PeerId, PeerLink>,
    pub last_peer: PeerId,
    pub clients: Clients,
    pub faults: Faults,
    pub guard: Guard,
    pub count: Coverage,
    pub violation: Option<String>,
    trace: Option<Vec<String>>,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> World {
        let mut dice = Dice::new(seed);
        dataplane::pipeline::dice::seed(dice.next());
        let shared = dice.percent(50);
        let planes = if shared { dice.one(&[1, 2, 2, 3, 3]) } else { 1 };
        let volume = Volume::new(shared::change::Epoch(dice.uuid()));
        let planes = (0..planes).map(|_| Plane::new(&mut dice)).collect();
        let clients = Clients::new(&mut dice);
        let faults = Faults::new(&mut dice, shared);
        let mut world = World {
            now: 0,
            origin: Instant::now(),
            events: BinaryHeap::new(),
            number: 0,
            planes,
            shared,
            volumes: vec![volume],
            mounted: 0,
            proxies: Vec::new(),
            instances: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            rows: Rows::default(),
            peers: BTreeMap::new(),
            last_peer: 0,
            clients,
            guard: Guard::new(seed, !faults.is_alone()),
            faults,
            count: Coverage::default(),
            violation: None,
            trace: traced.then(Vec::new),
            dice,
        };
        // In every other run: what is held sends nothing, and proves nothing else.
        if seed % 2 == 1 && !world.faults.is_alone() {
            world.clients.holds = world.dice.between(5, 20);
        }
        world
    }

    fn life(&self, actor: Actor) -> u64 {
        match actor {
            Actor::World => 0,
            Actor::Plane(plane) => self.planes[plane].life,
            Actor::Proxy(proxy) => self.proxies[proxy].life,
        }
    }

    fn paused_until(&self, actor: Actor) -> u64 {
        match actor {
            Actor::World => 0,
            Actor::Plane(plane) => self.planes[plane].paused_until,
            Actor::Proxy(proxy) => self.proxies[proxy].paused_until,
        }
    }

    pub fn at(&mut self, actor: Actor, at: u64, action: impl FnOnce(&mut World) + 'static) {
        self.number += 1;
        self.events.push(Reverse(Event {
            at: at.max(self.now),
            number: self.number,
            actor,
            life: self.life(actor),
            action: Box::new(action),
        }));
    }

    pub fn after(&mut self, actor: Actor, delay: u64, action: impl FnOnce(&mut World) + 'static) {
        self.at(actor, self.now + delay, action);
    }

    /// Until `end` or the first violation.
    pub fn run(&mut self, end: u64) {
        while self.violation.is_none() {
            let Some(Reverse(mut event)) = self.events.pop() else {
                return;
            };
            if event.at > end {
                return;
            }
            if event.life != self.life(event.actor) {
                continue;
            }
            let paused_until = self.paused_until(event.actor);
            if paused_until > event.at {
                event.at = paused_until;
                self.events.push(Reverse(event));
                continue;
            }
            self.now = event.at;
            (event.action)(self);
            self.check_leases();
        }
    }

    pub fn volume(&self) -> &Volume {
        &self.volumes[self.mounted]
    }

    pub fn volume_mut(&mut self) -> &mut Volume {
        &mut self.volumes[self.mounted]
    }

    pub fn violate(&mut self, what: impl Display) {
        self.note(|| format!("VIOLATED: {what}"));
        if self.violation.is_none() {
            self.violation = Some(what.to_string());
        }
    }

    pub fn note<T: Display>(&mut self, line: impl FnOnce() -> T) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            let (seconds, rest) = (now / SECOND, now % SECOND);
            trace.push(format!("{seconds:>4}.{:06} {}", rest / 1_000, line()));
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}

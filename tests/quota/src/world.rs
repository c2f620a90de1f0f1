//! True time, the queue of what happens next, and everyone who lives in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt::Display;
use std::time::Duration;

use shared::quota::{Departure, Settings};
use uuid::Uuid;

use crate::coverage::Coverage;
use crate::dice::{Dice, SECOND};
use crate::edits::Limits;
use crate::focus::Focus;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::permits::Flights;
use crate::plane::Plane;
use crate::proxy::Proxy;
use crate::requests::Load;
use crate::store::Store;

type Action = Box<dyn FnOnce(&mut World)>;

struct Event {
    at: u64,
    /// Events of one moment happen in the order in which they were foreseen.
    number: u64,
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
    pub dice: Dice,
    pub focus: Focus,
    pub settings: Settings,
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    pub planes: Vec<Plane>,
    pub proxies: Vec<Proxy>,
    /// Members of the roster, by instance, and those who left.
    pub roster: BTreeMap<Uuid, usize>,
    pub left: Vec<Departure>,
    pub network: Network,
    pub store: Store,
    pub limits: Limits,
    pub load: Load,
    pub oracle: Oracle,
    pub flights: Flights,
    /// Faults are over.
    pub mended: bool,
    pub count: Coverage,
    pub violation: Option<String>,
    pub trace: Option<Vec<String>>,
    /// Events within events: a decision that others interrupt.
    pub depth: usize,
}

/// As the binary's, but shorter, so that a short run sees all of it.
fn settings(focus: Focus) -> Settings {
    Settings {
        claim: Duration::from_secs(2),
        beat: Duration::from_millis(200),
        promise: Duration::from_millis(500),
        ledger_above: match focus {
            Focus::Crossing => Duration::from_secs(4),
            _ => Duration::from_secs(2),
        },
        forget_after: match focus {
            // Longer than any period there, and so short that a mark is set again.
            Focus::Heirs => Duration::from_secs(3),
            _ => Duration::from_secs(8),
        },
        accounts_max: 6,
    }
}

impl World {
    pub fn new(seed: u64, focus: Focus, traced: bool) -> World {
        let mut dice = Dice::new(seed);
        let planes = match focus {
            Focus::Peace | Focus::Share | Focus::Edits | Focus::Crossing => 1,
            Focus::Clocks | Focus::Members | Focus::Delays => dice.one(&[1, 2]),
            Focus::Chaos | Focus::Permits => dice.one(&[1, 2, 3]),
            _ => 2,
        };
        let proxies = 2 + dice.index(3);
        let mut world = World {
            now: SECOND,
            focus,
            settings: settings(focus),
            events: BinaryHeap::new(),
            number: 0,
            planes: (0..planes).map(|_| Plane::new(&mut dice)).collect(),
            proxies: (0..proxies).map(|_| Proxy::new(&mut dice)).collect(),
            roster: BTreeMap::new(),
            left: Vec::new(),
            network: Network::new(focus, &mut dice),
            store: Store::new(focus),
            limits: Limits::new(focus, &mut dice),
            load: Load::new(focus, &mut dice),
            oracle: Oracle::default(),
            flights: Flights::default(),
            mended: false,
            count: Coverage::default(),
            violation: None,
            trace: traced.then(Vec::new),
            depth: 0,
            dice,
        };
        world.oracle.labels = focus.keeps_wall_clocks();
        world
    }

    pub fn at(&mut self, at: u64, action: impl FnOnce(&mut World) + 'static) {
        self.number += 1;
        self.events.push(Reverse(Event {
            at: at.max(self.now),
            number: self.number,
            action: Box::new(action),
        }));
    }

    pub fn after(&mut self, delay: u64, action: impl FnOnce(&mut World) + 'static) {
        self.at(self.now + delay, action);
    }

    /// Until `end` or the first violation.
    pub fn run(&mut self, end: u64) {
        while self.violation.is_none() && self.events.peek().is_some_and(|Reverse(event)| event.at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    pub fn step(&mut self) {
        if let Some(Reverse(event)) = self.events.pop() {
            self.now = event.at;
            (event.action)(self);
        }
    }

    pub fn begin(&mut self) {
        let rules = self.limits.rules.clone();
        self.oracle.replaced(&rules, self.now);
        self.flights.replaced(&rules);
        (0..self.planes.len()).for_each(|plane| self.start_plane(plane));
        (0..self.planes.len()).for_each(|plane| self.tell_others(plane));
        self.share_out();
        (0..self.proxies.len()).for_each(|proxy| self.join(proxy));
        self.oracle.settled(self.now);
        self.flights.settled();
        self.begin_requests();
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
}

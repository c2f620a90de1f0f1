//! The control plane's end of the stream: any lines, in any order, from two connections that may claim one name.
//!
//! What it says is whole lines, its changes follow each other without a gap, and behind its last word there is none.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use net::ndjson::{Lines, encode};
use shared::change::{Epoch, Revision};
use shared::digest::Digest;
use shared::stream::hub::{Hub, WaitId};
use shared::stream::message::{self, Down, Draining, Hello, Level, Refused, Up};
use shared::stream::publisher::{Input as Event, Joined, Output, Publisher};
use shared::stream::roster::member;
use shared::stream::wait::{Condition, Target, WaitSpec};
use shared::time::Time;
use uuid::Uuid;

use crate::log::Log;
use crate::operations::{Few, Id, Name, Step};

#[derive(Arbitrary, Debug)]
pub struct Input {
    before: Vec<Few<Step>>,
    steps: Vec<(bool, Happening)>,
}

#[derive(Arbitrary, Debug)]
enum Happening {
    Says(Said),
    Bytes(Vec<u8>),
    /// What was asked of the log is done, or is not.
    Answered {
        is_done: bool,
    },
    Joined(u8),
    Left,
    Wake,
    Written,
    Tick {
        ms: u32,
    },
    Ended,
    Shutdown,
    /// The connection is opened anew.
    Open,
    Commit(Few<Step>),
    Wait {
        revision: u8,
        drained: Option<(Name, Id, u64)>,
    },
    GiveUp,
    Forget(Proxy),
}

#[derive(Arbitrary, Debug)]
enum Said {
    Hello {
        name: Proxy,
        instance: u8,
        boot: u64,
        epoch: Option<bool>,
        since: At,
        resync: bool,
        lease_ms: Option<u16>,
    },
    Bare {
        sent: u64,
    },
    Level {
        sent: u64,
        applied: At,
        draining: Few<(Name, Id, u64)>,
        refused: Few<(Name, u64)>,
    },
    Goodbye,
}

#[derive(Arbitrary, Debug)]
enum Proxy {
    One,
    Two,
    Any(String),
}

/// A revision of the log with its digest, or any.
#[derive(Arbitrary, Debug)]
enum At {
    Log(u8),
    Last,
    Any(u64),
}

impl Proxy {
    fn name(&self) -> &str {
        match self {
            Proxy::One => "proxy-1",
            Proxy::Two => "proxy-2",
            Proxy::Any(name) => name,
        }
    }
}

struct World {
    log: Log,
    hub: Hub,
    now: Time,
    connections: [Connection; 2],
    waits: Vec<WaitId>,
}

struct Connection {
    publisher: Publisher,
    lines: Lines,
    asked: Vec<Asked>,
    is_writing: bool,
    is_over: bool,
    /// What it was told last; a change must follow it.
    told: Option<Revision>,
}

enum Asked {
    Join(Arc<str>, member::Member, Option<Uuid>),
    Leave(Arc<str>, Uuid),
}

/// Bytes of a line.
const LINE_MAX: usize = 1 << 16;

pub fn check(input: Input) {
    let mut log = Log::new(1);
    for steps in input.before.iter().take(8) {
        log.commit(steps.0.iter().map(Step::op));
    }
    let now = Time::from_nanos(1 << 40);
    let hub = Hub::new(log.head(), &log.commits, None, now);
    let connections = [Connection::open(now), Connection::open(now)];
    let mut world = World {
        log,
        hub,
        now,
        connections,
        waits: Vec::new(),
    };
    for (other, happening) in input.steps.iter().take(64) {
        world.happens(usize::from(*other), happening);
    }
}

impl Connection {
    fn open(now: Time) -> Connection {
        Connection {
            publisher: Publisher::new(now),
            lines: Lines::new(LINE_MAX),
            asked: Vec::new(),
            is_writing: false,
            is_over: false,
            told: None,
        }
    }
}

impl World {
    fn happens(&mut self, at: usize, happening: &Happening) {
        match happening {
            Happening::Says(said) => {
                let line = encode(&self.line(said));
                self.read(at, &line);
            }
            Happening::Bytes(bytes) => self.read(at, bytes),
            Happening::Answered { is_done } => self.answer(at, *is_done),
            Happening::Joined(outcome) => {
                let outcomes = [Joined::Committed, Joined::Held, Joined::Failed];
                self.give(at, Event::Joined(outcomes[usize::from(outcome % 3)]));
            }
            Happening::Left => self.give(at, Event::Left),
            Happening::Wake => self.give(at, Event::Wake),
            Happening::Written => {
                self.connections[at].is_writing = false;
                self.give(at, Event::Written);
            }
            Happening::Tick { ms } => {
                self.now = self.now + Duration::from_millis(u64::from(*ms));
                self.hub.tick(self.now);
                self.give(at, Event::Tick);
            }
            Happening::Ended => self.give(at, Event::Ended),
            Happening::Shutdown => self.give(at, Event::Shutdown),
            Happening::Open => {
                self.give(at, Event::Ended);
                self.connections[at] = Connection::open(self.now);
            }
            Happening::Commit(steps) => self.commit(steps.0.iter().map(Step::op)),
            Happening::Wait { revision, drained } => self.wait(*revision, drained),
            Happening::GiveUp => {
                if let Some(id) = self.waits.pop() {
                    self.hub.give_up(id, self.now);
                }
            }
            Happening::Forget(proxy) => drop(self.hub.forget(proxy.name(), self.now)),
        }
        self.hub.take_news();
    }

    fn line(&self, said: &Said) -> Up {
        match said {
            Said::Hello {
                name,
                instance,
                boot,
                epoch,
                since,
                resync,
                lease_ms,
            } => {
                let (since, digest) = self.point(since);
                let ours = self.hub.epoch();
                Up::Hello(Hello {
                    name: name.name().into(),
                    instance: Uuid::from_u128(u128::from(*instance)),
                    boot: *boot,
                    epoch: epoch.map(|is_ours| if is_ours { ours } else { Epoch(Uuid::from_u128(99)) }),
                    since,
                    digest,
                    lease_ms: lease_ms.map_or(10_000, u64::from),
                    resync: *resync,
                    build: "fuzz".into(),
                    features: Vec::new(),
                })
            }
            Said::Bare { sent } => Up::State(message::State {
                sent: Time::from_nanos(*sent),
                level: None,
            }),
            Said::Level {
                sent,
                applied,
                draining,
                refused,
            } => {
                let draining = draining.0.iter().map(|(service, id, registration)| Draining {
                    service: service.0.into(),
                    id: id.0.into(),
                    address: id.0.into(),
                    registration: Revision(*registration),
                    in_flight: 1,
                });
                let refused = refused.0.iter().map(|(name, revision)| Refused {
                    object: format!("service/{}", name.0).into(),
                    revision: Revision(*revision),
                    detail: "fuzz".to_owned(),
                });
                let level = Level {
                    applied: self.point(applied).0,
                    persisted: true,
                    refused: refused.collect(),
                    draining: draining.collect(),
                    warming: Vec::new(),
                    warming_more: 0,
                    held: Vec::new(),
                };
                Up::State(message::State {
                    sent: Time::from_nanos(*sent),
                    level: Some(level),
                })
            }
            Said::Goodbye => Up::Goodbye {},
        }
    }

    fn point(&self, at: &At) -> (Revision, Digest) {
        match at {
            At::Last => (Revision(u64::MAX), Digest::default()),
            At::Any(revision) => (Revision(*revision), Digest::default()),
            At::Log(index) => {
                let state = &self.log.states[usize::from(*index) % self.log.states.len()];
                (state.configured, state.digest)
            }
        }
    }

    /// As whoever serves the connection reads.
    fn read(&mut self, at: usize, bytes: &[u8]) {
        self.connections[at].lines.push(bytes);
        loop {
            let event = match self.connections[at].lines.next_line() {
                Ok(Some(line)) => serde_json::from_slice(&line).map_or(Event::Ended, Event::Line),
                Ok(None) => return,
                Err(_) => Event::Ended,
            };
            let is_end = matches!(event, Event::Ended);
            self.give(at, event);
            if is_end {
                return;
            }
        }
    }

    fn give(&mut self, at: usize, event: Event) {
        let outputs = self.connections[at].publisher.handle(event, &mut self.hub, self.now);
        let connection = &mut self.connections[at];
        for output in outputs {
            assert!(!connection.is_over, "{output:?} after the last word");
            match output {
                Output::Refuse(refusal) => {
                    assert!(!refusal.to_string().is_empty());
                    connection.is_over = true;
                }
                // Only on a shared store.
                Output::Look | Output::Unavailable | Output::Close(_) => connection.is_over = true,
                Output::Join { name, member, replaces } => {
                    connection.asked.push(Asked::Join(name, member, replaces));
                }
                Output::Leave { name, instance } => connection.asked.push(Asked::Leave(name, instance)),
                Output::Accept | Output::Answered(_) | Output::Heard(_) => {}
                Output::Send(bytes) => connection.sent(&bytes),
            }
        }
        assert!(!connection.is_over || connection.publisher.is_closed());
    }

    fn answer(&mut self, at: usize, is_done: bool) {
        match self.connections[at].asked.pop() {
            None => {}
            Some(Asked::Join(..)) if !is_done => self.give(at, Event::Joined(Joined::Failed)),
            Some(Asked::Leave(..)) if !is_done => self.give(at, Event::Left),
            Some(Asked::Join(name, member, replaces)) => {
                let joined = match member::join(self.log.head(), &name, member, replaces) {
                    member::Join::Append(op) => {
                        self.commit([op]);
                        Joined::Committed
                    }
                    member::Join::Nothing => Joined::Committed,
                    member::Join::Held => Joined::Held,
                };
                self.give(at, Event::Joined(joined));
            }
            Some(Asked::Leave(name, instance)) => {
                let left = member::leave(self.log.head(), &name, instance, true);
                self.commit(left);
                self.give(at, Event::Left);
            }
        }
    }

    fn commit(&mut self, ops: impl IntoIterator<Item = shared::change::Op>) {
        if let Some(commit) = self.log.commit(ops) {
            self.hub.committed(&commit, self.log.head(), self.now);
        }
    }

    fn wait(&mut self, revision: u8, drained: &Option<(Name, Id, u64)>) {
        let revision = Revision(u64::from(revision) % (self.log.head().revision.0 + 1));
        let condition = match drained {
            None => Condition::Applied,
            Some((service, id, before)) => Condition::Drained(vec![Target::Upstream {
                service: service.0.into(),
                id: id.0.into(),
                before: Revision(*before),
            }]),
        };
        let spec = WaitSpec {
            revision,
            condition,
            objects: Vec::new(),
        };
        match self.hub.wait(spec, self.now) {
            Ok(id) => self.waits.push(id),
            Err(report) => {
                // An empty room is no success.
                assert!(!report.reached || report.members == 0 || report.reached_count > 0);
            }
        }
    }
}

impl Connection {
    fn sent(&mut self, bytes: &[u8]) {
        let mut lines = Lines::new(usize::MAX);
        lines.push(bytes);
        let mut is_goaway = false;
        while let Some(line) = lines.next_line().expect("no limit") {
            match serde_json::from_slice(&line).expect("a message") {
                Down::Welcome(_) => assert_eq!(self.told, None, "one welcome"),
                Down::Snapshot(offer) => self.told = Some(offer.revision),
                Down::Change(change) => {
                    assert!(change.from < change.to && !change.ops.is_empty());
                    assert!(
                        self.told.is_none_or(|told| told == change.from),
                        "{:?} then {change:?}",
                        self.told
                    );
                    self.told = Some(change.to);
                }
                Down::Beat(beat) => {
                    assert!(self.told.is_none_or(|told| told == beat.head));
                    self.told = Some(beat.head);
                }
                Down::Limits(_) | Down::Epochs { .. } => panic!("nobody told of limits"),
                Down::Query(query) => panic!("{query:?}, and nobody asked"),
                Down::Goaway { .. } => is_goaway = true,
            }
        }
        assert!(lines.is_between_lines());
        assert!(!self.is_writing, "one buffer at a time");
        self.is_writing = !is_goaway;
    }
}

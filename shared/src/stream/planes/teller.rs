//! What this control plane tells one other: whom it holds, and how far each of those is.
//!
//! It holds at most one buffer that is not written yet. What changes meanwhile is told together when there is room, each
//! proxy as it stands then: a slow listener costs no memory, and a proxy that moved on ten times is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::change::{Epoch, Revision};
use crate::stream::hub::Hub;
use crate::stream::planes::PlaneId;
use crate::stream::planes::message::{Advanced, Asked, Hello, Holding, Told};
use crate::stream::roster::Roster;
use crate::time::Time;

/// A connection must say hello within this.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// One on which a write does not end, or nothing is asked, for so long is closed.
const PROGRESS_WITHIN: Duration = Duration::from_secs(10);
/// Proxies told of in one buffer.
const BUFFER_MAX: usize = 4_096;

#[derive(Debug)]
pub enum Input {
    Line(Asked),
    /// There is news in the hub.
    Wake,
    /// The buffer last sent is out of hand; there is room for another.
    Written,
    /// About once a second.
    Tick,
    Ended,
}

#[derive(Debug, PartialEq)]
pub enum Output {
    /// Answer with this instead of a stream. Nothing follows.
    Refuse(Refusal),
    /// Answer with a stream; lines follow.
    Accept,
    Send(Bytes),
    /// Nothing follows.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It shares no store with others.
    Alone,
    /// It was asked by itself.
    Itself,
    /// It follows another store, or does not know yet that this one was succeeded.
    OtherEpoch { ours: Epoch, theirs: Epoch },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Alone => f.write_str("the store of this control plane is its own: there is nobody to tell"),
            Refusal::Itself => f.write_str("a control plane does not listen to itself"),
            Refusal::OtherEpoch { ours, theirs } => {
                write!(f, "this control plane follows the store {ours}, and not {theirs}")
            }
        }
    }
}

#[derive(Debug)]
pub struct Teller {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open { since: Time },
    Live(Live),
    Closed,
}

#[derive(Debug)]
struct Live {
    /// How many of the roster's changes were told.
    seen: u64,
    /// By slot, since when nothing was new of it but the revision, as far as it was told.
    told: Vec<Option<u64>>,
    head: Revision,
    ping: Option<Time>,
    welcome: Option<PlaneId>,
    asked: Time,
    writing: Option<Time>,
}

impl Teller {
    pub fn new(now: Time) -> Teller {
        Teller {
            stage: Stage::Open { since: now },
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    pub fn handle(&mut self, input: Input, hub: &Hub, now: Time) -> Option<Output> {
        match (&mut self.stage, input) {
            (Stage::Closed, _) => None,
            (Stage::Open { .. }, Input::Line(Asked::Hello(hello))) => Some(self.greet(&hello, hub, now)),
            (_, Input::Ended) => self.close(),
            (Stage::Open { since }, Input::Tick | Input::Wake | Input::Written) => {
                let late = now.since(*since) >= HELLO_WITHIN;
                late.then(|| self.close()).flatten()
            }
            (Stage::Open { .. }, Input::Line(_)) | (Stage::Live(_), Input::Line(Asked::Hello(_))) => self.close(),
            (Stage::Live(live), input) => {
                match input {
                    Input::Line(Asked::Ping { sent }) => {
                        live.asked = now;
                        live.ping = live.ping.max(Some(sent));
                    }
                    Input::Written => live.writing = None,
                    Input::Tick if live.is_stuck(hub, now) => return self.close(),
                    _ => {}
                }
                live.next(hub, now).map(Output::Send)
            }
        }
    }

    fn greet(&mut self, hello: &Hello, hub: &Hub, now: Time) -> Output {
        let refusal = match hub.roster().planes().own() {
            None => Err(Refusal::Alone),
            Some(own) if own == hello.id => Err(Refusal::Itself),
            Some(_) if hello.epoch != hub.epoch() => Err(Refusal::OtherEpoch {
                ours: hub.epoch(),
                theirs: hello.epoch,
            }),
            Some(own) => Ok(own),
        };
        match refusal {
            Err(refusal) => {
                self.stage = Stage::Closed;
                Output::Refuse(refusal)
            }
            Ok(own) => {
                self.stage = Stage::Live(Live {
                    seen: 0,
                    told: Vec::new(),
                    head: Revision::ZERO,
                    ping: None,
                    welcome: Some(own),
                    asked: now,
                    writing: None,
                });
                Output::Accept
            }
        }
    }

    fn close(&mut self) -> Option<Output> {
        self.stage = Stage::Closed;
        Some(Output::Close)
    }
}

impl Live {
    fn is_stuck(&self, hub: &Hub, now: Time) -> bool {
        let since = self.writing.unwrap_or(now).min(self.asked).max(hub.roster().resumed());
        now.since(since) >= PROGRESS_WITHIN
    }

    fn next(&mut self, hub: &Hub, now: Time) -> Option<Bytes> {
        if self.writing.is_some() {
            return None;
        }
        let mut buffer = BytesMut::new();
        if let Some(id) = self.welcome.take() {
            put(&mut buffer, &Told::Welcome { id });
        }
        let complete = self.tell(hub.roster(), &mut buffer);
        if hub.revision() > self.head {
            self.head = hub.revision();
            put(&mut buffer, &Told::Head { revision: self.head });
        }
        if let Some(sent) = self.ping.take_if(|_| complete) {
            put(&mut buffer, &Told::Pong { sent });
        }
        if buffer.is_empty() {
            return None;
        }
        self.writing = Some(now);
        Some(buffer.freeze())
    }

    /// Answers whether there is nothing left to tell.
    fn tell(&mut self, roster: &Roster, buffer: &mut BytesMut) -> bool {
        let mut advanced: BTreeMap<Revision, Vec<u32>> = BTreeMap::new();
        let mut released = Vec::new();
        let mut complete = true;
        for (count, (number, slot)) in roster.touched_after(self.seen).enumerate() {
            if count == BUFFER_MAX {
                complete = false;
                break;
            }
            self.seen = number;
            let place = slot.index();
            if self.told.len() <= place {
                self.told.resize(place + 1, None);
            }
            let told = &mut self.told[place];
            match roster.held(slot) {
                Some((peer, reshaped)) if *told == Some(reshaped) => {
                    let applied = peer.level().map(|level| level.applied).unwrap_or_default();
                    advanced.entry(applied).or_default().push(slot.number());
                }
                Some((peer, reshaped)) => {
                    *told = Some(reshaped);
                    let holding = Holding {
                        name: peer.name().clone(),
                        instance: peer.instance(),
                        boot: peer.boot().unwrap_or_default(),
                        build: peer.build().clone(),
                        connected: peer.is_connected(),
                        level: peer.level().cloned(),
                    };
                    let slot = slot.number();
                    put(buffer, &Told::Holds { slot, holding });
                }
                None if told.take().is_some() => released.push(slot.number()),
                None => {}
            }
        }
        for (to, slots) in advanced {
            put(buffer, &Told::Advanced(Advanced { to, slots }));
        }
        if !released.is_empty() {
            put(buffer, &Told::Released { slots: released });
        }
        complete
    }
}

fn put(buffer: &mut BytesMut, line: &Told) {
    // What is told holds nothing that JSON cannot say.
    if serde_json::to_writer(buffer.writer(), line).is_ok() {
        buffer.put_u8(b'\n');
    }
}

#[cfg(test)]
mod tests;

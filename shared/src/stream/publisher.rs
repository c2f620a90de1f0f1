//! The control plane's end of one proxy's stream.
//!
//! ```text
//!  (open) ── hello ──▶ greeted ──▶ live ── goodbye ──▶ leaving ──▶ closed
//!                │        ▲          │
//!                └ join ──┘          └ evicted, too slow, silent, cut ──▶ closed
//! ```
//!
//! It holds at most one buffer that is not written yet. What comes meanwhile waits in the ring, and goes out together as
//! soon as the buffer is gone: the first change at once, later ones coalesced only while a write is pending.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::quota;
use crate::stream::hub::{Entered, Greeting, Hub, Refusal};
use crate::stream::message::{self, Beat, Down, Hello, Query, Up, Upstreams};
use crate::stream::ring::{Cursor, Overrun, line};
use crate::stream::roster::{Member, SessionId, Slot};
use crate::time::Time;

/// A connection must say hello within this.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A connection on which a write does not end, or nothing is heard, for so long is closed.
pub const PROGRESS_WITHIN: Duration = Duration::from_secs(30);
/// A beat follows the last one after so long; ticks come once a second, some of them early.
const BEAT_AFTER: Duration = Duration::from_millis(900);
/// What a proxy is told to let pass before it comes back to a control plane that shuts down.
const GOAWAY_AFTER_MS: u64 = 200;
/// Queries that wait for room; further ones are dropped, and whoever asked does not wait for long.
const QUERIES_MAX: usize = 16;
/// Bytes about limits that wait for room; what is beyond is lost, and asked for again.
const TELLS_MAX: usize = 1 << 20;
/// How often a join may turn out to be outrun by another before the connection is given up.
const JOINS_MAX: u8 = 3;

#[derive(Debug)]
pub enum Input {
    Line(Up),
    /// The join that was asked for came to this.
    Joined(Joined),
    /// Whether the log's true head is known to the hub now.
    Looked(bool),
    /// The leaving that was asked for was committed, or could not be.
    Left,
    /// Somebody wants to know how the proxy's upstreams are; see [`Publisher::answers`].
    Ask(Query),
    /// Lines about limits for the proxy. Any of them may be lost.
    Tell(Bytes),
    /// There is news in the hub.
    Wake,
    /// The buffer last sent is out of hand; there is room for another.
    Written,
    /// Once a second.
    Tick,
    /// The proxy's side has ended.
    Ended,
    /// This control plane shuts down.
    Shutdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    Committed,
    /// Another instance took the name meanwhile.
    Held,
    Failed,
}

#[derive(Debug, PartialEq)]
pub enum Output {
    /// Answer with this instead of a stream. Nothing follows.
    Refuse(Refusal),
    /// The store could not take the join: answer so. Nothing follows.
    Unavailable,
    /// Commit this to the roster, see [`crate::stream::roster::member::join`].
    Join {
        name: Arc<str>,
        member: Member,
        replaces: Option<Uuid>,
    },
    /// Read the log's true head: this control plane may be one that is behind.
    Look,
    /// Answer with a stream; lines follow.
    Accept,
    Send(Bytes),
    /// The proxy's answer to a query.
    Answered(Upstreams),
    /// For an owner of limits.
    Heard(Box<quota::Up>),
    /// Commit that it left, see [`crate::stream::roster::member::leave`].
    Leave {
        name: Arc<str>,
        instance: Uuid,
    },
    /// Nothing follows.
    Close(Closing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It left, and the log says so.
    Goodbye,
    Ended,
    /// Another connection speaks for the member, or it was removed.
    Evicted,
    NoProgress,
    /// Too slow for the ring.
    Overrun,
    /// What was said has no place here.
    Protocol,
    Shutdown,
}

#[derive(Debug)]
pub struct Publisher {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Open { since: Time },
    Joining { hello: Box<Hello>, tries: u8 },
    Looking { hello: Box<Hello> },
    Live(Live),
    Closed,
}

#[derive(Debug)]
struct Live {
    name: Arc<str>,
    instance: Uuid,
    slot: Slot,
    session: SessionId,
    cursor: Cursor,
    /// The first lines, until they are sent.
    greeting: Option<Bytes>,
    /// `sent` of the last state.
    echo: Option<Time>,
    /// It knows queries.
    answers: bool,
    queries: VecDeque<Query>,
    /// It knows limits.
    counts: bool,
    tells: Vec<u8>,
    heard: Time,
    /// When the buffer that is not written yet was handed out.
    writing: Option<Time>,
    last_beat: Time,
    beat_due: bool,
    /// It said goodbye: that it is no member any more is what it wants.
    parting: bool,
}

impl Publisher {
    pub fn new(now: Time) -> Publisher {
        Publisher {
            stage: Stage::Open { since: now },
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// The connection that this one is to the roster.
    pub fn session(&self) -> Option<SessionId> {
        match &self.stage {
            Stage::Live(live) => Some(live.session),
            _ => None,
        }
    }

    /// The instance that is to be told about limits, if it keeps them.
    pub fn counts(&self) -> Option<Uuid> {
        match &self.stage {
            Stage::Live(live) => (live.counts && !live.parting).then_some(live.instance),
            _ => None,
        }
    }

    /// Whether it is worth asking.
    pub fn answers(&self) -> bool {
        matches!(&self.stage, Stage::Live(live) if live.answers && !live.parting)
    }

    pub fn handle(&mut self, input: Input, hub: &mut Hub, now: Time) -> Vec<Output> {
        let (stage, outputs) = match std::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open { since } => open(since, input, hub, now),
            Stage::Joining { hello, tries } => joining(hello, tries, input, hub, now),
            Stage::Looking { hello } => looking(hello, input, hub, now),
            Stage::Live(live) => live.handle(input, hub, now),
            Stage::Closed => (Stage::Closed, Vec::new()),
        };
        self.stage = stage;
        outputs
    }
}

type Step = (Stage, Vec<Output>);

fn closed(closing: Closing) -> Step {
    (Stage::Closed, vec![Output::Close(closing)])
}

fn open(since: Time, input: Input, hub: &mut Hub, now: Time) -> Step {
    match input {
        Input::Line(Up::Hello(hello)) => begin(Box::new(hello), hub, now),
        Input::Line(_) | Input::Joined(_) | Input::Looked(_) | Input::Left => closed(Closing::Protocol),
        Input::Ended => closed(Closing::Ended),
        Input::Shutdown => closed(Closing::Shutdown),
        Input::Ask(_) | Input::Tell(_) | Input::Wake | Input::Written | Input::Tick => {
            match now.since(since) >= HELLO_WITHIN {
                true => closed(Closing::NoProgress),
                false => (Stage::Open { since }, Vec::new()),
            }
        }
    }
}

/// What others appended may not have come here yet, and by what they promised with it a proxy would be wrong to begin to
/// serve, or to hear that the store went back: the log is asked.
fn begin(hello: Box<Hello>, hub: &mut Hub, now: Time) -> Step {
    match hub.greet(&hello, now) {
        Greeting::Refuse(refusal) if refusal.is_invalid() => (Stage::Closed, vec![Output::Refuse(refusal)]),
        _ if hub.roster().planes().is_alone() => enter(hello, 0, true, hub, now),
        _ => (Stage::Looking { hello }, vec![Output::Look]),
    }
}

fn looking(hello: Box<Hello>, input: Input, hub: &mut Hub, now: Time) -> Step {
    match input {
        Input::Looked(current) => match hub.greet(&hello, now) {
            Greeting::Refuse(refusal) if refusal.is_alarming() && !current => {
                (Stage::Closed, vec![Output::Unavailable])
            }
            _ => enter(hello, 0, current, hub, now),
        },
        Input::Ended => closed(Closing::Ended),
        Input::Shutdown => closed(Closing::Shutdown),
        Input::Line(_) | Input::Joined(_) | Input::Left => closed(Closing::Protocol),
        Input::Ask(_) | Input::Tell(_) | Input::Wake | Input::Written | Input::Tick => {
            (Stage::Looking { hello }, Vec::new())
        }
    }
}

/// Joins before it welcomes: whoever is welcomed is a member at every revision from then on, so that no write can slip
/// in between and miss it.
fn enter(hello: Box<Hello>, tries: u8, current: bool, hub: &mut Hub, now: Time) -> Step {
    match hub.enter(&hello, now) {
        Ok(mut entered) => {
            entered.welcome.current = current;
            let mut live = Live::begin(&hello, entered, now);
            let mut outputs = vec![Output::Accept];
            outputs.extend(live.offer(hub, now));
            (Stage::Live(live), outputs)
        }
        Err(Greeting::Refuse(refusal)) => (Stage::Closed, vec![Output::Refuse(refusal)]),
        Err(_) if tries == JOINS_MAX => (Stage::Closed, vec![Output::Unavailable]),
        Err(Greeting::Join { replaces }) => {
            let member = Member {
                instance: hello.instance,
                lease_ms: hello.lease_ms,
            };
            let join = Output::Join {
                name: hello.name.clone(),
                member,
                replaces,
            };
            (
                Stage::Joining {
                    hello,
                    tries: tries + 1,
                },
                vec![join],
            )
        }
        Err(Greeting::Enter) => (Stage::Closed, vec![Output::Unavailable]),
    }
}

fn joining(hello: Box<Hello>, tries: u8, input: Input, hub: &mut Hub, now: Time) -> Step {
    match input {
        // A join is decided at the log's head.
        Input::Joined(Joined::Committed) => enter(hello, tries, true, hub, now),
        // Greeted again, it learns how long the other one holds the name.
        Input::Joined(Joined::Held) => enter(hello, JOINS_MAX, true, hub, now),
        Input::Joined(Joined::Failed) => (Stage::Closed, vec![Output::Unavailable]),
        Input::Ended => closed(Closing::Ended),
        Input::Shutdown => closed(Closing::Shutdown),
        Input::Line(_) | Input::Looked(_) | Input::Left => closed(Closing::Protocol),
        Input::Ask(_) | Input::Tell(_) | Input::Wake | Input::Written | Input::Tick => {
            (Stage::Joining { hello, tries }, Vec::new())
        }
    }
}

impl Live {
    fn begin(hello: &Hello, entered: Entered, now: Time) -> Live {
        let has = |known| hello.features.iter().any(|feature| &**feature == known);
        let mut greeting = line(&Down::Welcome(entered.welcome)).to_vec();
        if let Some(offer) = entered.offer {
            greeting.extend_from_slice(&line(&Down::Snapshot(offer)));
        }
        Live {
            name: hello.name.clone(),
            instance: hello.instance,
            slot: entered.slot,
            session: entered.session,
            cursor: entered.cursor,
            greeting: Some(greeting.into()),
            echo: None,
            answers: has(message::QUERY),
            queries: VecDeque::new(),
            counts: has(message::LIMITS),
            tells: Vec::new(),
            heard: now,
            writing: None,
            last_beat: now,
            beat_due: false,
            parting: false,
        }
    }

    fn handle(mut self, input: Input, hub: &mut Hub, now: Time) -> Step {
        if !hub.roster().holds(self.slot, self.session) {
            return closed(match self.parting {
                true => Closing::Goodbye,
                false => Closing::Evicted,
            });
        }
        let mut outputs = Vec::new();
        match input {
            Input::Line(Up::State(state)) => {
                self.heard = now;
                self.echo = self.echo.max(Some(state.sent));
                hub.state(self.slot, self.session, state, now);
            }
            Input::Line(Up::Upstreams(answer)) => outputs.push(Output::Answered(answer)),
            Input::Ask(query) => {
                if self.answers && self.queries.len() < QUERIES_MAX {
                    self.queries.push_back(query);
                }
            }
            Input::Line(Up::Limits(up)) => outputs.push(Output::Heard(up)),
            Input::Tell(lines) => {
                if self.counts && self.tells.len() + lines.len() <= TELLS_MAX {
                    self.tells.extend_from_slice(&lines);
                }
            }
            Input::Line(Up::Goodbye {}) => {
                self.parting = true;
                hub.farewell(self.slot, self.session, now);
                let leave = Output::Leave {
                    name: self.name.clone(),
                    instance: self.instance,
                };
                return (Stage::Live(self), vec![leave]);
            }
            Input::Written => self.writing = None,
            Input::Tick => match self.is_stuck(hub, now) {
                true => return self.close(Closing::NoProgress, hub, now),
                false => self.beat_due |= now.since(self.last_beat) >= BEAT_AFTER,
            },
            Input::Wake => {}
            Input::Left => return self.close(Closing::Goodbye, hub, now),
            Input::Ended => return self.close(Closing::Ended, hub, now),
            Input::Shutdown => return self.shut_down(hub, now),
            Input::Line(Up::Hello(_)) | Input::Joined(_) | Input::Looked(_) => {
                return self.close(Closing::Protocol, hub, now);
            }
        }
        match self.next(hub, now) {
            Ok(bytes) => {
                outputs.extend(bytes.map(Output::Send));
                (Stage::Live(self), outputs)
            }
            Err(Overrun) => self.close(Closing::Overrun, hub, now),
        }
    }

    fn offer(&mut self, hub: &mut Hub, now: Time) -> Option<Output> {
        self.next(hub, now).ok().flatten().map(Output::Send)
    }

    /// The next buffer, if none is pending: first the greeting, then what is asked, then changes, and a beat once there are
    /// none. Queries are few and short.
    fn next(&mut self, hub: &mut Hub, now: Time) -> Result<Option<Bytes>, Overrun> {
        if self.writing.is_some() {
            return Ok(None);
        }
        let query = |query| line(&Down::Query(query));
        let short = self.greeting.take().or_else(|| self.queries.pop_front().map(query));
        let bytes = match short {
            Some(bytes) => Some(bytes),
            None => match hub.chunk(self.cursor)? {
                Some(chunk) => {
                    self.cursor = chunk.cursor;
                    Some(self.with_tells(chunk.bytes))
                }
                None => {
                    // A beat is not put off: there may always be something to tell.
                    let beat = self.beat(hub, now).unwrap_or_default();
                    Some(self.with_tells(beat)).filter(|bytes| !bytes.is_empty())
                }
            },
        };
        self.writing = bytes.as_ref().map(|_| now);
        Ok(bytes)
    }

    /// Behind the changes, for grants go by the newest of them.
    fn with_tells(&mut self, changes: Bytes) -> Bytes {
        match self.tells.is_empty() {
            true => changes,
            false => [&*changes, &std::mem::take(&mut self.tells)].concat().into(),
        }
    }

    fn beat(&mut self, hub: &Hub, now: Time) -> Option<Bytes> {
        let told = hub.told(self.cursor).filter(|_| self.beat_due)?;
        self.beat_due = false;
        self.last_beat = now;
        Some(line(&Down::Beat(Beat {
            head: told.revision,
            digest: told.digest,
            echo: self.echo.filter(|_| hub.roster().may_echo(self.slot, now)),
        })))
    }

    /// A pause of this control plane is nobody's fault: what was said meanwhile is still to be read.
    fn is_stuck(&self, hub: &Hub, now: Time) -> bool {
        let since = self.writing.unwrap_or(now).min(self.heard).max(hub.roster().resumed());
        now.since(since) >= PROGRESS_WITHIN
    }

    fn shut_down(self, hub: &mut Hub, now: Time) -> Step {
        let goaway = self.writing.is_none().then(|| {
            Output::Send(line(&Down::Goaway {
                after_ms: GOAWAY_AFTER_MS,
            }))
        });
        let (stage, close) = self.close(Closing::Shutdown, hub, now);
        (stage, goaway.into_iter().chain(close).collect())
    }

    fn close(self, closing: Closing, hub: &mut Hub, now: Time) -> Step {
        hub.detach(self.slot, self.session, now);
        closed(closing)
    }
}

#[cfg(test)]
mod tests;

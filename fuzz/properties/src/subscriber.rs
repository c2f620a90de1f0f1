//! The proxy's end of the stream: any lines, in any order, whatever becomes of its disk.
//!
//! It never goes back within an epoch, never takes another epoch but from a snapshot, and never stops to try.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use arbitrary::Arbitrary;
use net::ndjson::{Lines, encode};
use shared::change::{Epoch, Op, Revision};
use shared::digest::Digest;
use shared::state::State;
use shared::stream::message::{Beat, Change, Down, SnapshotOffer, Up, Upstreams, Welcome};
use shared::stream::subscriber::{
    Disconnected, Disk, Identity, Input as Event, Loaded, OnLeaseEnd, Output, Settings, Subscriber,
};
use shared::time::Time;
use uuid::Uuid;

use crate::log::Log;
use crate::operations::{Few, Step};

#[derive(Arbitrary, Debug)]
pub struct Input {
    history: Vec<Few<Step>>,
    /// Which state it begins with.
    stored: Option<u8>,
    steps: Vec<Happening>,
}

#[derive(Arbitrary, Debug)]
enum Happening {
    Says(Few<Said>),
    Bytes(Vec<u8>),
    Connected,
    Disconnected {
        is_refused: bool,
    },
    Tick {
        ms: u16,
    },
    /// The oldest thing that was to be done is done, or failed.
    Done {
        is_well: bool,
    },
    Fetched(Option<(u8, bool)>),
    Stopping,
    Drained,
}

#[derive(Arbitrary, Debug)]
enum Said {
    Welcome {
        head: u8,
        is_other: bool,
        succeeds: bool,
    },
    Offer {
        at: u8,
        is_wrong: bool,
    },
    /// As the log has it.
    Change(u8),
    AnyChange {
        from: u64,
        to: u64,
        ops: Few<Step>,
    },
    Beat {
        at: u8,
        is_wrong: bool,
        echo: Option<u64>,
    },
    Goaway {
        after_ms: u64,
    },
}

/// What has to be answered, in order.
enum Pending {
    Store,
    Unlink,
    Swap,
    Retire,
}

struct World {
    log: Log,
    changes: Vec<Change>,
    /// The same history in another store.
    other: Epoch,
    subscriber: Subscriber,
    now: Time,
    pending: VecDeque<Pending>,
    lines: Lines,
    link: Link,
    is_fetching: bool,
    epochs: BTreeSet<Epoch>,
    said: Option<(Epoch, Revision)>,
    is_finished: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Dialing,
    Up,
}

const LINE_MAX: usize = 1 << 20;
/// Nothing that a control plane says may keep a proxy from another attempt for longer.
const AGAIN_WITHIN: Duration = Duration::from_secs(120);

pub fn check(input: Input) {
    let mut log = Log::new(1);
    for steps in input.history.iter().take(8) {
        log.commit(steps.0.iter().map(Step::op).filter(|op| op.kind.is_configuration()));
    }
    let state = input
        .stored
        .map(|at| log.states[usize::from(at) % log.states.len()].clone());
    let settings = Settings {
        identity: Identity {
            name: "p".into(),
            instance: Uuid::nil(),
            boot: 1,
            build: "fuzz".into(),
        },
        lease: Duration::from_secs(10),
        on_lease_end: OnLeaseEnd::Stop,
        urls: 2,
        seed: 7,
    };
    let now = Time::from_nanos(1 << 40);
    let (subscriber, outputs) = Subscriber::new(
        settings,
        Loaded {
            state,
            disk: Disk::Good,
        },
        now,
    );
    let epochs = [subscriber.state().epoch].into();
    let mut world = World {
        changes: log.changes(),
        log,
        other: Epoch(Uuid::from_u128(2)),
        subscriber,
        now,
        pending: VecDeque::new(),
        lines: Lines::new(LINE_MAX),
        link: Link::Down,
        is_fetching: false,
        epochs,
        said: None,
        is_finished: false,
    };
    world.carry_out(outputs);
    for happening in input.steps.iter().take(64) {
        world.happens(happening);
    }
    world.tries_again();
}

impl World {
    fn happens(&mut self, happening: &Happening) {
        match happening {
            Happening::Says(said) => {
                for said in &said.0 {
                    let line = encode(&self.line(said));
                    self.lines.push(&line);
                }
                self.read();
            }
            Happening::Bytes(bytes) => {
                self.lines.push(bytes);
                self.read();
            }
            Happening::Connected if self.link == Link::Dialing => {
                self.link = Link::Up;
                self.lines = Lines::new(LINE_MAX);
                self.give(Event::Connected);
            }
            Happening::Disconnected { is_refused } if self.link != Link::Down => {
                self.link = Link::Down;
                self.give(Event::Disconnected(match is_refused {
                    true => Disconnected::Refused {
                        status: 409,
                        detail: "fuzz".to_owned(),
                        held: false,
                    },
                    false => Disconnected::Lost("fuzz".to_owned()),
                }));
            }
            Happening::Connected | Happening::Disconnected { .. } => {}
            Happening::Tick { ms } => self.pass(Duration::from_millis(u64::from(*ms))),
            Happening::Done { is_well } => self.done(*is_well),
            Happening::Fetched(_) if self.link != Link::Up || !self.is_fetching => {}
            Happening::Fetched(None) => {
                self.is_fetching = false;
                self.give(Event::Fetched(Err("fuzz".to_owned())));
            }
            Happening::Fetched(Some((at, is_other))) => {
                self.is_fetching = false;
                let mut state = self.state(*at).clone();
                if *is_other {
                    state.epoch = self.other;
                }
                self.epochs.insert(state.epoch);
                self.give(Event::Fetched(Ok(state)));
            }
            Happening::Stopping => self.give(Event::Stopping),
            Happening::Drained => self.give(Event::Drained),
        }
    }

    fn state(&self, at: u8) -> &State {
        &self.log.states[usize::from(at) % self.log.states.len()]
    }

    fn line(&self, said: &Said) -> Down {
        match said {
            Said::Welcome {
                head,
                is_other,
                succeeds,
            } => {
                let (ours, other) = (self.log.head().epoch, self.other);
                let (epoch, before) = if *is_other { (other, ours) } else { (ours, other) };
                Down::Welcome(Welcome {
                    epoch,
                    succeeds: succeeds.then_some(before).into_iter().collect(),
                    head: self.state(*head).configured,
                    current: true,
                    leased: true,
                })
            }
            Said::Offer { at, is_wrong } => Down::Snapshot(SnapshotOffer {
                revision: self.state(*at).configured,
                path: "/v1/snapshot".to_owned(),
                digest: self.digest(*at, *is_wrong),
            }),
            Said::Change(at) if !self.changes.is_empty() => {
                Down::Change(self.changes[usize::from(*at) % self.changes.len()].clone())
            }
            Said::Change(at) => Down::Goaway {
                after_ms: u64::from(*at),
            },
            Said::AnyChange { from, to, ops } => {
                let ops: Vec<Op> = ops.0.iter().map(Step::op).collect();
                Down::Change(Change {
                    from: Revision(*from),
                    to: Revision(*to),
                    ops,
                })
            }
            Said::Beat { at, is_wrong, echo } => Down::Beat(Beat {
                head: self.state(*at).configured,
                digest: self.digest(*at, *is_wrong),
                echo: echo.map(Time::from_nanos),
            }),
            Said::Goaway { after_ms } => Down::Goaway { after_ms: *after_ms },
        }
    }

    fn digest(&self, at: u8, is_wrong: bool) -> Digest {
        if is_wrong {
            Digest::default()
        } else {
            self.state(at).digest
        }
    }

    /// As whoever reads the connection does: a line that is no message ends it.
    fn read(&mut self) {
        let mut heap = Vec::new();
        let is_broken = loop {
            match self.lines.next_line() {
                Ok(Some(line)) => match serde_json::from_slice(&line) {
                    Ok(down) => heap.push(down),
                    Err(_) => break true,
                },
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if self.link != Link::Up {
            return;
        }
        if is_broken {
            self.link = Link::Down;
            self.give(Event::Disconnected(Disconnected::Lost("no message".to_owned())));
        } else if !heap.is_empty() {
            self.give(Event::Lines(heap));
        }
    }

    fn done(&mut self, is_well: bool) {
        let result = || if is_well { Ok(()) } else { Err("fuzz".to_owned()) };
        let event = match self.pending.pop_front() {
            None => return,
            Some(Pending::Store) => Event::Stored(result()),
            Some(Pending::Unlink) => Event::Unlinked(result()),
            Some(Pending::Swap) => Event::Swapped,
            Some(Pending::Retire) => Event::Retired(Vec::new()),
        };
        self.give(event);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.give(Event::Tick);
    }

    fn give(&mut self, event: Event) {
        let outputs = self.subscriber.handle(event, self.now);
        self.carry_out(outputs);
        let state = self.subscriber.state();
        assert!(
            self.epochs.contains(&state.epoch),
            "{} came from no snapshot",
            state.epoch
        );
        assert_eq!(state.revision, state.configured);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Connect { url } => {
                    assert!(self.link == Link::Down && url < 2 && !self.is_finished);
                    (self.link, self.is_fetching) = (Link::Dialing, false);
                }
                Output::Close => self.link = Link::Down,
                Output::Fetch { .. } => {
                    assert!(self.link == Link::Up);
                    self.is_fetching = true;
                }
                Output::Look(query) => self.give(Event::Seen(Upstreams {
                    id: query.id,
                    list: Vec::new(),
                    more: 0,
                    traffic: None,
                })),
                Output::Limits(_) | Output::Epochs(_) => {}
                Output::Send(up) => {
                    assert!(self.link == Link::Up);
                    self.sent(up);
                }
                Output::Save(_) | Output::Write(_) => self.pending.push_back(Pending::Store),
                Output::Unlink => self.pending.push_back(Pending::Unlink),
                Output::Swap { .. } => self.pending.push_back(Pending::Swap),
                Output::Retire => self.pending.push_back(Pending::Retire),
                Output::Alarm(alarm) => assert!(!alarm.to_string().is_empty()),
                Output::Phase(_) => {}
                Output::Finished => self.is_finished = true,
            }
        }
        assert!(self.pending.len() <= 1, "one thing after another");
    }

    /// What is acknowledged never goes back, unless another store was followed meanwhile.
    fn sent(&mut self, up: Up) {
        if let Up::State(shared::stream::message::State { level: Some(level), .. }) = up {
            let epoch = self.subscriber.state().epoch;
            if let Some((before, applied)) = self.said {
                assert!(
                    before != epoch || level.applied >= applied,
                    "{} after {applied}",
                    level.applied
                );
            }
            self.said = Some((epoch, level.applied));
        }
    }

    /// Once the connection is gone, there is another attempt.
    fn tries_again(&mut self) {
        if self.link != Link::Down {
            self.link = Link::Down;
            self.give(Event::Disconnected(Disconnected::Lost("the end".to_owned())));
        }
        let mut waited = Duration::ZERO;
        while self.link == Link::Down && !self.is_finished {
            assert!(waited < AGAIN_WITHIN, "no attempt after {waited:?}");
            waited += Duration::from_secs(1);
            self.pass(Duration::from_secs(1));
        }
    }
}

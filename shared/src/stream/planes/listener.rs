//! How this control plane listens to one other: at most one connection, dialed again and again with jitter.

use std::time::Duration;

use crate::change::Revision;
use crate::stream::hub::Hub;
use crate::stream::planes::PlaneId;
use crate::stream::planes::message::{Asked, Hello, Told};
use crate::time::Time;

/// For a connection and its welcome to come about.
const WELCOME_WITHIN: Duration = Duration::from_secs(3);
/// One that does not answer pings for so long is left.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_millis(400);
/// Pauses between attempts grow from up to the first of these to up to the second.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Input {
    /// A connection is there: the hello may be sent.
    Connected,
    Lines(Vec<Told>),
    Disconnected,
    /// Four times a second.
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Connect,
    Send(Asked),
    Close,
    /// The log has moved to this revision at least.
    Moved(Revision),
}

#[derive(Debug)]
pub struct Listener {
    /// Whom it listens to.
    id: PlaneId,
    stage: Stage,
    failures: u32,
    dice: u64,
}

#[derive(Debug)]
enum Stage {
    Idle { until: Time },
    Dialing { since: Time },
    Live { heard: Time, pinged: Time },
}

impl Listener {
    /// `seed` spreads reconnects; any number.
    pub fn new(id: PlaneId, seed: u64, now: Time) -> Listener {
        Listener {
            id,
            stage: Stage::Idle { until: now },
            failures: 0,
            dice: seed | 1,
        }
    }

    pub fn handle(&mut self, input: Input, hub: &mut Hub, now: Time) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => self.tick(hub, now, &mut out),
            Input::Connected => {
                if let (Stage::Dialing { .. }, Some(own)) = (&self.stage, hub.roster().planes().own()) {
                    let epoch = hub.epoch();
                    out.push(Output::Send(Asked::Hello(Hello { id: own, epoch })));
                    out.push(Output::Send(Asked::Ping { sent: now }));
                }
            }
            Input::Lines(lines) => self.lines(lines, hub, now, &mut out),
            Input::Disconnected => self.rest(hub, now),
        }
        out
    }

    fn tick(&mut self, hub: &mut Hub, now: Time, out: &mut Vec<Output>) {
        match &mut self.stage {
            Stage::Idle { until } if now >= *until => {
                self.stage = Stage::Dialing { since: now };
                out.push(Output::Connect);
            }
            Stage::Dialing { since } if now.since(*since) >= WELCOME_WITHIN => self.cut(hub, now, out),
            Stage::Live { heard, .. } if now.since(*heard) >= SILENCE_MAX => self.cut(hub, now, out),
            Stage::Live { pinged, .. } if now.since(*pinged) >= PING_EVERY => {
                *pinged = now;
                out.push(Output::Send(Asked::Ping { sent: now }));
            }
            Stage::Idle { .. } | Stage::Dialing { .. } | Stage::Live { .. } => {}
        }
    }

    fn lines(&mut self, lines: Vec<Told>, hub: &mut Hub, now: Time, out: &mut Vec<Output>) {
        for line in lines {
            match (line, &mut self.stage) {
                (Told::Welcome { id }, Stage::Dialing { .. }) if id == self.id => {
                    self.failures = 0;
                    self.stage = Stage::Live {
                        heard: now,
                        pinged: now,
                    };
                    hub.plane_begins(id);
                }
                (Told::Head { revision }, Stage::Live { .. }) => {
                    if revision > hub.revision() {
                        out.push(Output::Moved(revision));
                    }
                }
                // Of another one at the same address: its row will tell.
                (Told::Welcome { .. }, _) | (_, Stage::Idle { .. } | Stage::Dialing { .. }) => {
                    return self.cut(hub, now, out);
                }
                (line, Stage::Live { heard, .. }) => {
                    *heard = now;
                    hub.plane_says(self.id, line, now);
                }
            }
        }
    }

    fn cut(&mut self, hub: &mut Hub, now: Time, out: &mut Vec<Output>) {
        out.push(Output::Close);
        self.rest(hub, now);
    }

    fn rest(&mut self, hub: &mut Hub, now: Time) {
        if matches!(self.stage, Stage::Live { .. }) {
            hub.plane_ends(self.id);
        }
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_MAX);
        self.failures += 1;
        self.stage = Stage::Idle {
            until: now + self.up_to(ceiling),
        };
    }

    /// xorshift64: spreads a herd, no more.
    fn up_to(&mut self, ceiling: Duration) -> Duration {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.dice % nanos)
    }
}

#[cfg(test)]
mod tests;

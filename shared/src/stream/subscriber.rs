//! The proxy's end of the stream: what it holds, in which order it takes a change into use, and when it may serve.
//!
//! ```text
//!   link     idle ── Connect ─▶ dialing ── hello ─▶ greeting ── welcome ─▶ live ── cut, silent, gap ─▶ idle
//!   change   Write ─▶ Swap ─▶ Retire ─▶ acknowledge            (one batch at a time; later ones wait)
//!   phase    Starting ── caught up, or 5 s alone ─▶ Serving ⇄ stale | Unready | Stopped      any ─▶ Draining
//! ```
//!
//! A change is written before it is acknowledged, so that a restart never goes back behind what was said; swapped before
//! what it left out is forbidden, so that whoever meets a retired upstream finds a table without it; and acknowledged
//! after that, with what is draining *then*. The acknowledgement is a level: all of it is said again after every hello.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::change::{Epoch, Revision};
use crate::state::State;
use crate::stream::message::{Level, Up};
use crate::table::Table;
use crate::time::Time;

mod cycle;
mod disk;
mod former;
mod io;
mod lease;
mod link;

pub use disk::Disk;
pub use io::{Alarm, Disconnected, Input, OnLeaseEnd, Output, Phase};

use cycle::Cycle;
use former::Former;
use lease::Lease;
use link::Link;

/// A proxy that has reached no control plane for so long serves what it has from disk.
pub const ALONE_AFTER: Duration = Duration::from_secs(5);
/// How long a proxy that has drained tries to say goodbye, unless it has been alone for so long already.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Between two states when nothing changes.
pub const STATE_EVERY: Duration = Duration::from_secs(1);

/// Who this proxy is, in this life.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: Arc<str>,
    pub instance: Uuid,
    pub boot: u64,
    pub build: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub identity: Identity,
    pub lease: Duration,
    pub on_lease_end: OnLeaseEnd,
    /// How many addresses of control planes there are; at least one.
    pub urls: usize,
    /// Spreads reconnects; any number.
    pub seed: u64,
}

/// What a proxy begins with.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration that was stored, if there was one.
    pub state: Option<State>,
    /// Lost or stuck when the boot counter could not be written: then nothing is served from disk either.
    pub disk: Disk,
}

pub struct Subscriber {
    settings: Settings,
    /// All that was taken in; what is not in use yet is in `cycle`.
    state: State,
    table: Table,
    /// Whether there is a table of some epoch; before the first one nothing is ready.
    known: bool,
    disk: Disk,
    cycle: Cycle,
    link: Link,
    lease: Lease,
    /// The level that was said last, or is to be said.
    level: Level,
    /// Counts in it moved since it was said.
    level_dirty: bool,
    former: Former,
    /// In use: swapped, and what it left out retired.
    applied: Revision,
    /// The listeners were allowed once.
    opened: bool,
    phase: Phase,
    leaving: Leaving,
    defects: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Listeners close, requests finish.
    Draining,
    /// Nothing is in flight: goodbye is said as soon as there is a link, and not waited for beyond this.
    Drained {
        until: Time,
    },
    Finished,
}

impl Subscriber {
    /// Begins with a swap to what was stored, before there is anyone to serve.
    pub fn new(settings: Settings, loaded: Loaded, now: Time) -> (Subscriber, Vec<Output>) {
        let known = loaded.state.is_some();
        let state = loaded.state.unwrap_or_else(|| State::empty(Epoch(Uuid::nil())));
        let mut subscriber = Subscriber {
            link: Link::new(settings.seed, now),
            lease: Lease::new(settings.lease),
            settings,
            table: Table::default(),
            known,
            disk: loaded.disk,
            cycle: Cycle::default(),
            level: Level::default(),
            level_dirty: false,
            former: Former::default(),
            applied: Revision::ZERO,
            opened: false,
            phase: Phase::Starting,
            leaving: Leaving::No,
            defects: 0,
            state,
        };
        let mut outputs = Vec::new();
        if known {
            subscriber.begin_stored(&mut outputs);
        }
        (subscriber, outputs)
    }

    /// The configuration that was taken in; what is stored is never ahead of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The configuration revision in use.
    pub fn applied(&self) -> Revision {
        self.applied
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Until when requests may be sent to upstreams, if the lease's end forbids it: whoever sends one looks at the clock, since
    /// a proxy that stood still does not know yet that its lease is over. None: it goes on.
    pub fn sends_until(&self) -> Option<Time> {
        (self.settings.on_lease_end == OnLeaseEnd::Stop).then(|| self.lease.end())
    }

    /// None: no lease runs.
    pub fn lease_end(&self) -> Option<Time> {
        (!self.lease.is_over()).then(|| self.lease.end())
    }

    /// How often the configuration turned out to be another one than announced.
    pub fn defects(&self) -> u64 {
        self.defects
    }

    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Output> {
        let mut outputs = Vec::new();
        let out = &mut outputs;
        // Before anything that may prolong the lease: one that ended while nobody looked has ended.
        self.show_phase(now, out);
        match input {
            Input::Tick => self.tick(now, out),
            Input::Connected => self.connected(now, out),
            Input::Lines(lines) => self.lines(lines, now, out),
            Input::Disconnected(why) => self.disconnected(why, now, out),
            Input::Fetched(snapshot) => self.fetched(snapshot, now, out),
            Input::Seen(upstreams) if self.link.may_speak() => out.push(Output::Send(Up::Upstreams(upstreams))),
            Input::Stored(result) => self.stored(result, now, out),
            Input::Unlinked(result) => self.unlinked(result, now, out),
            Input::Swapped => self.swapped(out),
            Input::Retired(draining) => self.retired(draining, now, out),
            Input::Draining(draining) => self.draining(draining, now, out),
            Input::Stopping if self.leaving == Leaving::No => self.leaving = Leaving::Draining,
            Input::Drained if matches!(self.leaving, Leaving::No | Leaving::Draining) => {
                self.leaving = Leaving::Drained {
                    until: now + LEAVE_WITHIN,
                };
                self.say_goodbye(out);
            }
            Input::Warming(warming) => self.warming(warming, now, out),
            Input::Held(held) => self.held(held, now, out),
            Input::Limits(up) if self.link.may_speak() => out.push(Output::Send(Up::Limits(up))),
            Input::Seen(_) | Input::Limits(_) | Input::Stopping | Input::Drained => {}
        }
        self.next_cycle(now, out);
        self.show_phase(now, out);
        outputs
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        self.tick_link(now, out);
        self.tick_disk(now);
        // Alone there is nobody to say it to; one that was heard a moment ago may be back in time.
        if let Leaving::Drained { until } = self.leaving
            && (now >= until || self.link.is_alone(now))
        {
            self.finish(out);
        }
    }

    /// Only once nothing is in flight: after a goodbye no write waits for this proxy.
    fn say_goodbye(&mut self, out: &mut Vec<Output>) {
        if matches!(self.leaving, Leaving::Drained { .. }) && self.link.leave() {
            out.push(Output::Send(Up::Goodbye {}));
        }
    }

    fn finish(&mut self, out: &mut Vec<Output>) {
        self.leaving = Leaving::Finished;
        out.push(Output::Finished);
    }

    /// Whether the listeners may be bound: all that was true when the control plane welcomed this proxy is in use. Alone,
    /// or with none that knows what is true, what there is must do.
    fn may_open(&self, now: Time) -> bool {
        let is_current = self.has_caught_up() && self.link.is_informed();
        self.known && self.is_settled() && (is_current || self.link.is_uninformed(now))
    }

    fn has_caught_up(&self) -> bool {
        self.known && self.link.target().is_some_and(|head| self.applied >= head)
    }

    fn show_phase(&mut self, now: Time, out: &mut Vec<Output>) {
        self.opened |= self.may_open(now);
        let caught_up = self.has_caught_up();
        if let Some(after) = self.lease.update(caught_up, now)
            && self.opened
        {
            out.push(Output::Alarm(Alarm::LeaseOver { after }));
        }
        let phase = match (self.leaving, self.opened, self.lease.is_over()) {
            (Leaving::No, false, _) => Phase::Starting,
            (Leaving::No, true, false) => Phase::Serving { stale: false },
            (Leaving::No, true, true) => match self.settings.on_lease_end {
                OnLeaseEnd::Serve => Phase::Serving { stale: true },
                OnLeaseEnd::Unready => Phase::Unready,
                OnLeaseEnd::Stop => Phase::Stopped,
            },
            _ => Phase::Draining,
        };
        if phase != self.phase {
            self.phase = phase;
            out.push(Output::Phase(phase));
        }
    }
}

#[cfg(test)]
mod tests;

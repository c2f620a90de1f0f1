//! The connection to a control plane: at most one, dialed again and again with jitter, through all addresses in turn.

use std::time::Duration;

use super::{ALONE_AFTER, Alarm, Disconnected, Leaving, Output, STATE_EVERY, Subscriber};
use crate::change::{Epoch, Revision};
use crate::digest::Digest;
use crate::state::State;
use crate::stream::message::{self, Beat, Change, Down, Hello, SnapshotOffer, Up, Welcome};
use crate::stream::subscriber::cycle::WAITING_MAX;
use crate::time::Time;

/// For a connection to come about.
const DIAL_WITHIN: Duration = Duration::from_secs(3);
/// For a welcome after the hello: a join has to be committed first.
const WELCOME_WITHIN: Duration = Duration::from_secs(10);
/// Beats come every second; a control plane that is silent for so long is left.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A control plane that does not echo a proxy that has caught up, may not: it is left for another after so long, if there
/// is one. When all were tried in vain, each is given twice the time.
const ECHO_WITHIN: Duration = Duration::from_secs(5);
const ROUNDS_MAX: u32 = 4;
/// Pauses between attempts grow from up to the first of these to up to the second, or the third where a control plane is
/// there and takes no more. Nobody is burdened by attempts that nobody hears; and whoever waits for its return waits for the
/// last proxy: what limits grant is known when all have said what they spent.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_UNHEARD: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// The longest that a control plane may send a proxy away for: a slip of its must not end the proxy's attempts.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Attempts to fetch one snapshot.
const FETCHES_MAX: u32 = 20;
/// Bytes of changes that may wait for a snapshot to be fetched.
const BUFFERED_BYTES_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Link {
    stage: Stage,
    url: usize,
    failures: u32,
    dice: u64,
    /// When a control plane that this proxy follows was heard last, or the start.
    contact: Time,
    /// The same of one that knew the log's head.
    informed: Time,
    spoke: Time,
    /// When there was last an echo, or no reason yet to expect one.
    echoed: Time,
    /// Control planes left since then because they did not echo.
    unechoed: u32,
    /// What the control plane announced, when the own fold turned out otherwise.
    resync: Option<(Revision, Digest)>,
}

#[derive(Debug)]
enum Stage {
    Idle { until: Time },
    Dialing { since: Time },
    Greeting { sent: Time },
    Live(Live),
}

#[derive(Debug)]
struct Live {
    epoch: Epoch,
    /// What must be in use before the listeners are bound, and before a lease begins.
    target: Revision,
    /// Whether no promise can be about more than `target`.
    current: bool,
    /// Until the snapshot is there that changes build on.
    catching: Option<Catching>,
    left: bool,
}

#[derive(Debug, Default)]
struct Catching {
    offer: Option<SnapshotOffer>,
    buffered: Vec<Change>,
    bytes: usize,
    /// More came than is kept: the rest is resumed by another connection.
    overflowed: bool,
    tries: u32,
    fetch_at: Option<Time>,
}

/// A connection that cannot go on.
struct Cut;

impl Link {
    pub(super) fn new(seed: u64, now: Time) -> Link {
        Link {
            stage: Stage::Idle { until: now },
            url: 0,
            failures: 0,
            dice: seed | 1,
            contact: now,
            informed: now,
            spoke: now,
            echoed: now,
            unechoed: 0,
            resync: None,
        }
    }

    pub(super) fn may_speak(&self) -> bool {
        matches!(&self.stage, Stage::Live(live) if !live.left)
    }

    pub(super) fn target(&self) -> Option<Revision> {
        match &self.stage {
            Stage::Live(live) if live.catching.is_none() => Some(live.target),
            _ => None,
        }
    }

    /// Of the store that listens.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match &self.stage {
            Stage::Live(live) => Some(live.epoch),
            _ => None,
        }
    }

    pub(super) fn is_alone(&self, now: Time) -> bool {
        !matches!(self.stage, Stage::Live(_)) && now.since(self.contact) >= ALONE_AFTER
    }

    /// Whether what the control plane says is all that anybody was promised.
    pub(super) fn is_informed(&self) -> bool {
        matches!(&self.stage, Stage::Live(live) if live.current)
    }

    /// Whether nobody who knows that has been there for long.
    pub(super) fn is_uninformed(&self, now: Time) -> bool {
        !self.is_informed() && now.since(self.informed) >= ALONE_AFTER
    }

    fn is_unechoed(&self, urls: usize, now: Time) -> bool {
        let urls = u32::try_from(urls).unwrap_or(u32::MAX);
        let rounds = self.unechoed.checked_div(urls).unwrap_or_default().min(ROUNDS_MAX);
        urls > 1 && now.since(self.echoed) >= ECHO_WITHIN * (1 << rounds)
    }

    fn echo(&mut self, now: Time) {
        self.echoed = now;
        self.unechoed = 0;
    }

    pub(super) fn said(&mut self, now: Time) {
        self.spoke = now;
    }

    /// Nothing is said after it. Answers whether there is someone to say goodbye to, for the first time.
    pub(super) fn leave(&mut self) -> bool {
        match &mut self.stage {
            Stage::Live(live) => !std::mem::replace(&mut live.left, true),
            _ => false,
        }
    }

    fn rest(&mut self, at_least: Duration, at_most: Duration, now: Time) {
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(at_most);
        self.failures += 1;
        self.stage = Stage::Idle {
            until: now + at_least + self.up_to(ceiling),
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

impl Subscriber {
    pub(super) fn tick_link(&mut self, now: Time, out: &mut Vec<Output>) {
        if !matches!(self.link.stage, Stage::Live(_)) || !self.has_caught_up() {
            self.link.echoed = now;
        }
        let unechoed = self.link.is_unechoed(self.settings.urls, now);
        match &mut self.link.stage {
            Stage::Idle { until } if now >= *until && self.leaving != Leaving::Finished => {
                self.link.stage = Stage::Dialing { since: now };
                out.push(Output::Connect { url: self.link.url });
            }
            Stage::Dialing { since } if now.since(*since) >= DIAL_WITHIN => self.cut(now, out),
            Stage::Greeting { sent } if now.since(*sent) >= WELCOME_WITHIN => self.cut(now, out),
            Stage::Live(_) if now.since(self.link.contact) >= SILENCE_MAX => self.cut(now, out),
            Stage::Live(_) if unechoed => {
                self.link.unechoed += 1;
                self.cut(now, out);
            }
            Stage::Live(live) => {
                if let Some(path) = live.catching.as_mut().and_then(|catching| catching.due(now)) {
                    out.push(Output::Fetch { path });
                }
                self.tick_state(now, out);
            }
            Stage::Idle { .. } | Stage::Dialing { .. } | Stage::Greeting { .. } => {}
        }
    }

    fn tick_state(&mut self, now: Time, out: &mut Vec<Output>) {
        if now.since(self.link.spoke) < STATE_EVERY || !self.link.may_speak() {
            return;
        }
        match self.level_dirty {
            true => self.say_level(now, out),
            false => {
                self.link.said(now);
                out.push(Output::Send(Up::State(message::State { sent: now, level: None })));
            }
        }
    }

    pub(super) fn connected(&mut self, now: Time, out: &mut Vec<Output>) {
        if !matches!(self.link.stage, Stage::Dialing { .. }) {
            return;
        }
        self.link.stage = Stage::Greeting { sent: now };
        self.cycle.forget_waiting();
        let (since, digest) = (self.state.configured, self.state.digest);
        let announced = self.link.resync.take_if(|(revision, _)| *revision == since);
        self.link.resync = announced;
        let identity = &self.settings.identity;
        out.push(Output::Send(Up::Hello(Hello {
            name: identity.name.clone(),
            instance: identity.instance,
            boot: identity.boot,
            epoch: self.known.then_some(self.state.epoch),
            since,
            digest: announced.map_or(digest, |(_, digest)| digest),
            lease_ms: u64::try_from(self.lease.length().as_millis()).unwrap_or(u64::MAX),
            resync: announced.is_some(),
            build: identity.build.clone(),
            features: vec![message::QUERY.into(), message::LIMITS.into()],
        })));
    }

    pub(super) fn disconnected(&mut self, why: Disconnected, now: Time, out: &mut Vec<Output>) {
        let at_most = match why {
            Disconnected::Refused { .. } => BACKOFF_MAX,
            Disconnected::Lost(_) => BACKOFF_UNHEARD,
        };
        if let Disconnected::Refused { status, detail, held } = why
            && !matches!(self.link.stage, Stage::Live(_))
        {
            if held {
                // It is not alone: what it holds from before may be removed by now, and nobody would wait for it.
                self.link.contact = now;
                self.link.informed = now;
            }
            out.push(Output::Alarm(Alarm::Refused { status, detail }));
        }
        self.hang_up(Duration::ZERO, at_most, now, out);
    }

    fn cut(&mut self, now: Time, out: &mut Vec<Output>) {
        out.push(Output::Close);
        self.hang_up(Duration::ZERO, BACKOFF_MAX, now, out);
    }

    fn hang_up(&mut self, rest: Duration, at_most: Duration, now: Time, out: &mut Vec<Output>) {
        let said_goodbye = matches!(&self.link.stage, Stage::Live(live) if live.left);
        self.link.url = (self.link.url + 1) % self.settings.urls.max(1);
        self.link.rest(rest, at_most, now);
        if said_goodbye && self.leaving != Leaving::Finished {
            self.finish(out);
        }
    }

    pub(super) fn lines(&mut self, lines: Vec<Down>, now: Time, out: &mut Vec<Output>) {
        for line in lines {
            let taken = match (line, &self.link.stage) {
                (Down::Goaway { after_ms }, _) => {
                    out.push(Output::Close);
                    return self.hang_up(Duration::from_millis(after_ms).min(AWAY_MAX), BACKOFF_MAX, now, out);
                }
                (Down::Welcome(welcome), Stage::Greeting { sent }) => self.welcomed(welcome, *sent, now, out),
                (Down::Snapshot(offer), Stage::Live(_)) => self.offered(offer, out),
                (Down::Change(change), Stage::Live(_)) => self.changed(change),
                (Down::Beat(beat), Stage::Live(_)) => self.beaten(beat, now, out),
                (Down::Limits(down), Stage::Live(_)) => {
                    out.push(Output::Limits(down));
                    Ok(())
                }
                (Down::Epochs { shards }, Stage::Live(_)) => {
                    out.push(Output::Epochs(shards));
                    Ok(())
                }
                (Down::Query(query), Stage::Live(_)) => {
                    out.push(Output::Look(query));
                    Ok(())
                }
                _ => Err(Cut),
            };
            match taken {
                Ok(()) => {
                    self.link.contact = now;
                    if self.link.is_informed() {
                        self.link.informed = now;
                    }
                }
                Err(Cut) => return self.cut(now, out),
            }
        }
    }

    fn welcomed(&mut self, welcome: Welcome, sent: Time, now: Time, out: &mut Vec<Output>) -> Result<(), Cut> {
        let followed = self.state.epoch;
        let same = self.known && welcome.epoch == followed;
        if self.known && !same && !welcome.succeeds.contains(&followed) {
            out.push(Output::Alarm(Alarm::OtherEpoch {
                followed,
                offered: welcome.epoch,
            }));
            return Err(Cut);
        }
        if same && welcome.head < self.received() {
            out.push(Output::Alarm(Alarm::WentBack {
                applied: self.received(),
                offered: welcome.head,
            }));
            return Err(Cut);
        }
        let catching = (!same || self.link.resync.is_some()).then(Catching::default);
        self.link.stage = Stage::Live(Live {
            epoch: welcome.epoch,
            target: welcome.head,
            current: welcome.current,
            catching,
            left: false,
        });
        if welcome.leased {
            self.lease.prove(sent, now);
            self.link.echo(now);
        }
        self.renew_level();
        self.say_level(now, out);
        self.say_goodbye(out);
        Ok(())
    }

    fn offered(&mut self, offer: SnapshotOffer, out: &mut Vec<Output>) -> Result<(), Cut> {
        let Stage::Live(live) = &mut self.link.stage else {
            return Err(Cut);
        };
        out.push(Output::Fetch {
            path: offer.path.clone(),
        });
        live.catching = Some(Catching {
            offer: Some(offer),
            ..Catching::default()
        });
        Ok(())
    }

    /// In order and without a gap, whatever the network did; what is known already is passed over.
    fn changed(&mut self, change: Change) -> Result<(), Cut> {
        let Stage::Live(live) = &mut self.link.stage else {
            return Err(Cut);
        };
        if let Some(catching) = &mut live.catching {
            catching.keep(change);
            return Ok(());
        }
        let received = self.received();
        match change.to <= received {
            true => Ok(()),
            false if change.from > received || self.cycle.waiting.len() >= WAITING_MAX => Err(Cut),
            false => {
                self.cycle.waiting.push_back(change);
                Ok(())
            }
        }
    }

    fn beaten(&mut self, beat: Beat, now: Time, out: &mut Vec<Output>) -> Result<(), Cut> {
        if let Some(echo) = beat.echo
            && self.lease.prove(echo, now)
        {
            self.link.echo(now);
            if let Stage::Live(live) = &mut self.link.stage {
                // Who keeps a lease has made sure of that.
                live.current = true;
                if self.lease.is_over() {
                    // What was promised meanwhile has to be in use before it begins anew.
                    live.target = live.target.max(beat.head);
                }
            }
        }
        let Stage::Live(Live { catching: None, .. }) = &self.link.stage else {
            return Ok(());
        };
        if beat.head > self.received() {
            return Err(Cut);
        }
        if beat.head == self.state.configured && self.cycle.is_empty() {
            if beat.digest != self.state.digest {
                self.defects += 1;
                self.link.resync = Some((beat.head, beat.digest));
                out.push(Output::Alarm(Alarm::DigestMismatch { revision: beat.head }));
                return Err(Cut);
            }
            self.link.failures = 0;
        }
        Ok(())
    }

    pub(super) fn fetched(&mut self, snapshot: Result<State, String>, now: Time, out: &mut Vec<Output>) {
        let Stage::Live(live) = &mut self.link.stage else {
            return;
        };
        let Some(mut catching) = live.catching.take_if(|catching| catching.fetch_at.is_none()) else {
            return;
        };
        let fitting = snapshot.ok().filter(|state| catching.fits(state, live.epoch));
        let Some(state) = fitting else {
            catching.tries += 1;
            let again = catching.tries < FETCHES_MAX;
            let rest = BACKOFF_FIRST + self.link.up_to(BACKOFF_MAX / 3);
            catching.fetch_at = Some(now + rest);
            if let Stage::Live(live) = &mut self.link.stage {
                live.catching = Some(catching);
            }
            if !again {
                self.cut(now, out);
            }
            return;
        };
        if self.known && state.epoch == self.state.epoch && state.configured < self.received() {
            out.push(Output::Alarm(Alarm::WentBack {
                applied: self.received(),
                offered: state.configured,
            }));
            return self.cut(now, out);
        }
        self.link.resync = None;
        self.cycle.waiting.clear();
        self.cycle.snapshot = Some(state);
        let followed = catching
            .buffered
            .into_iter()
            .try_for_each(|change| self.changed(change));
        if followed.is_err() || catching.overflowed {
            self.cut(now, out);
        }
    }
}

impl Catching {
    fn keep(&mut self, change: Change) {
        let body = |op: &crate::change::Op| op.key.len() + op.body.as_ref().map_or(0, |body| body.as_str().len()) + 64;
        self.bytes += change.ops.iter().map(body).sum::<usize>();
        self.overflowed |= self.buffered.len() >= WAITING_MAX || self.bytes > BUFFERED_BYTES_MAX;
        match self.overflowed {
            true => self.buffered = Vec::new(),
            false => self.buffered.push(change),
        }
    }

    /// Whether the changes of this connection build on what was fetched.
    fn fits(&self, state: &State, epoch: Epoch) -> bool {
        let Some(offer) = &self.offer else { return false };
        let same_digest = state.configured != offer.revision || state.digest == offer.digest;
        state.epoch == epoch && state.configured >= offer.revision && same_digest
    }

    fn due(&mut self, now: Time) -> Option<String> {
        self.fetch_at.take_if(|at| now >= *at)?;
        self.offer.as_ref().map(|offer| offer.path.clone())
    }
}

//! Carries out what the subscriber says.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use net::clock::boottime;
use net::duplex::{self, Credentials, Duplex, Event};
use net::ndjson;
use net::said::Said;
use shared::quota;
use shared::state::State;
use shared::stream::message::{Down, Query, Up, Upstreams};
use shared::stream::subscriber::{Disconnected, Input, Output, Subscriber};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::fetch::Fetch;
use super::store::Store;
use super::{Error, Leave};
use crate::phase::PhaseSender;
use crate::status;
use crate::view::{LeftOut, Views};
use crate::worker::Barrier;

const TICK: Duration = Duration::from_millis(250);
/// Looks at the upstreams at a time; whoever asks beyond that gets no answer.
const LOOKS_MAX: usize = 4;

const PASSES_EVERY: Duration = Duration::from_millis(20);

/// The stream of a control plane.
type Link = Duplex<Down>;

/// The control planes, and what is shown to them.
pub(super) struct Peers {
    pub addresses: Vec<duplex::Address>,
    pub credentials: Credentials,
}

impl Peers {
    fn connect(&self, url: usize) -> Option<Link> {
        let address = self.addresses.get(url)?.clone();
        Some(Duplex::open(address, "/v1/stream", self.credentials.clone()))
    }
}

pub(super) struct Driver {
    subscriber: Subscriber,
    /// Away while it is at work on another thread.
    store: Option<Store>,
    compaction: Option<JoinHandle<io::Result<(u64, u64)>>>,
    views: Arc<Views>,
    phase: PhaseSender,
    peers: Peers,
    link: Option<Link>,
    fetch: Option<Fetch>,
    /// Answers to queries, on their way on other threads: a look at a large table takes a while.
    looks: JoinSet<Upstreams>,
    left: LeftOut,
    barrier: Barrier,
    /// The table of now is acknowledged once the workers have passed.
    passing: Option<BoxFuture<'static, ()>>,
    /// A control plane that refuses is asked again several times a second.
    said: Said<()>,
}

impl Driver {
    pub(super) fn new(
        subscriber: Subscriber,
        store: Store,
        views: Arc<Views>,
        barrier: Barrier,
        phase: PhaseSender,
        peers: Peers,
    ) -> Driver {
        Driver {
            subscriber,
            store: Some(store),
            compaction: None,
            views,
            phase,
            peers,
            link: None,
            fetch: None,
            looks: JoinSet::new(),
            left: LeftOut::default(),
            barrier,
            passing: None,
            said: Said::default(),
        }
    }

    pub(super) async fn run(mut self, outputs: Vec<Output>, leave: Leave) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let limiter = self.views.limiter().clone();
        let mut drains = self.views.changed();
        let mut passes = self.views.checks().passed();
        // Thousands that came together pass one after another, and each time the whole level is said.
        let mut pace = tokio::time::interval(PASSES_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_passed = false;
        let (mut stopping, mut drained) = (false, false);
        let mut finished = self.carry_out(outputs).await?;
        while !finished {
            let input = tokio::select! {
                event = next_event(&mut self.link) => {
                    self.say(&event);
                    input(event)
                }
                // The sender lives in the views, which this holds.
                _ = drains.changed() => {
                    finished |= self.feed(self.held()).await?;
                    Input::Draining(self.views.draining())
                }
                _ = passes.changed(), if !has_passed => {
                    has_passed = true;
                    continue;
                }
                _ = pace.tick(), if has_passed => {
                    has_passed = false;
                    self.views.hand_over();
                    finished |= self.feed(Input::Draining(self.views.draining())).await?;
                    self.warming()
                }
                snapshot = next_fetched(&mut self.fetch) => {
                    self.fetch = None;
                    Input::Fetched(snapshot)
                }
                () = next_passed(&mut self.passing) => {
                    finished |= self.feed(self.warming()).await?;
                    finished |= self.feed(self.held()).await?;
                    Input::Retired(self.views.draining())
                }
                Some(Ok(seen)) = self.looks.join_next() => Input::Seen(seen),
                said = limiter.said() => {
                    finished |= self.tell_owners(said).await?;
                    continue;
                }
                () = leave.stopping.cancelled(), if !stopping => {
                    stopping = true;
                    Input::Stopping
                }
                () = leave.drained.cancelled(), if !drained => {
                    drained = true;
                    // Before the goodbye: after it nobody believes this proxy.
                    finished |= self.tell_owners(limiter.leave()).await?;
                    Input::Drained
                }
                _ = ticks.tick() => {
                    finished |= self.feed(Input::Draining(self.views.draining())).await?;
                    finished |= self.feed(self.warming()).await?;
                    finished |= self.feed(self.held()).await?;
                    Input::Tick
                }
            };
            finished |= self.feed(input).await?;
        }
        Ok(())
    }

    /// Why there is no control plane: a certificate that is not believed looks like one that is away.
    fn say(&self, event: &Event<Down>) {
        if let Event::Disconnected(Disconnected::Lost(why)) = event
            && self.said.is_news(why, (), Instant::now())
        {
            tracing::warn!("no connection to a control plane: {why}");
        }
    }

    async fn tell_owners(&mut self, said: Vec<quota::Up>) -> Result<bool, Error> {
        let mut finished = false;
        for up in said {
            finished |= self.feed(Input::Limits(Box::new(up))).await?;
        }
        Ok(finished)
    }

    async fn feed(&mut self, input: Input) -> Result<bool, Error> {
        let outputs = self.subscriber.handle(input, boottime());
        self.views.send_until(self.subscriber.sends_until());
        let (applied, lease_end) = (self.subscriber.applied(), self.subscriber.lease_end());
        self.views.progress().set(applied, lease_end);
        self.carry_out(outputs).await
    }

    /// One after another; what they lead to comes after what was said before. Answers whether it is over.
    async fn carry_out(&mut self, outputs: Vec<Output>) -> Result<bool, Error> {
        let mut queue = VecDeque::from(outputs);
        let mut finished = false;
        while let Some(output) = queue.pop_front() {
            let result = match output {
                Output::Save(state) => Some(self.save(*state).await?),
                Output::Unlink => Some(self.unlink().await?),
                Output::Write(changes) => Some(self.write(&changes)?),
                Output::Retire => {
                    let left = std::mem::take(&mut self.left);
                    let has_admissions = left.has_admissions();
                    self.views.retire(left);
                    if has_admissions {
                        self.passing = Some(self.barrier.clone().passed().boxed());
                        None
                    } else {
                        queue.extend(self.subscriber.handle(self.warming(), boottime()));
                        queue.extend(self.subscriber.handle(self.held(), boottime()));
                        Some(Input::Retired(self.views.draining()))
                    }
                }
                Output::Finished => {
                    finished = true;
                    None
                }
                other => self.act(other),
            };
            if let Some(input) = result {
                queue.extend(self.subscriber.handle(input, boottime()));
            }
        }
        self.compact().await?;
        Ok(finished)
    }

    fn warming(&self) -> Input {
        Input::Warming(self.views.checks().warming())
    }

    fn held(&self) -> Input {
        Input::Held(self.views.held())
    }

    fn act(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Connect { url } => {
                self.views.limiter().disconnected();
                self.link = self.peers.connect(url);
            }
            Output::Close => {
                self.link = None;
                self.fetch = None;
            }
            // What owners and proxies say to each other may be lost; a line that has no room ends the connection.
            Output::Send(Up::Limits(_)) if self.link.as_ref().is_some_and(|link| !link.has_room()) => {}
            Output::Limits(down) => self.views.limiter().hear(*down),
            Output::Epochs(epochs) => self.views.limiter().welcome(epochs),
            Output::Send(up) => {
                let taken = self.link.as_ref().is_none_or(|link| link.send(ndjson::encode(&up)));
                if !taken {
                    let why = "the control plane takes no more lines".to_owned();
                    return Some(Input::Disconnected(Disconnected::Lost(why)));
                }
            }
            Output::Fetch { path } => self.fetch = self.link.as_ref().map(|link| Fetch::start(link.requests(), &path)),
            Output::Look(query) => self.look(&query),
            Output::Swap { table, touched } => {
                self.left = match touched {
                    Some(touched) => self.views.swap_touched(*table, &touched),
                    None => self.views.swap(*table),
                };
                let state = self.subscriber.state();
                let view = self.views.now();
                self.views.limiter().follow(view.table(), state.configured, state.epoch);
                return Some(Input::Swapped);
            }
            Output::Phase(phase) => self.phase.set(phase),
            Output::Alarm(alarm) => {
                let text = alarm.to_string();
                if self.said.is_news(&text, (), Instant::now()) {
                    tracing::error!("{text}");
                }
            }
            Output::Save(_) | Output::Unlink | Output::Write(_) | Output::Retire | Output::Finished => {}
        }
        None
    }

    fn look(&mut self, query: &Query) {
        if self.looks.len() < LOOKS_MAX {
            let (query, views) = (query.clone(), self.views.clone());
            self.looks
                .spawn_blocking(move || status::upstreams::look(&query, &views.now(), views.counts()));
        }
    }

    /// A few hundred bytes into the page cache: not worth another thread.
    fn write(&mut self, changes: &[shared::stream::message::Change]) -> Result<Input, Error> {
        let store = self.store.as_mut().ok_or(Error::Defect)?;
        Ok(Input::Stored(store.write(changes).map_err(|error| error.to_string())))
    }

    async fn save(&mut self, state: State) -> Result<Input, Error> {
        self.settle_compaction().await?;
        Ok(Input::Stored(self.aside(move |store| store.save(&state)).await?))
    }

    /// After a compaction that is under way, or that would bring something back.
    async fn unlink(&mut self) -> Result<Input, Error> {
        self.settle_compaction().await?;
        Ok(Input::Unlinked(self.aside(Store::unlink).await?))
    }

    async fn aside(
        &mut self,
        work: impl FnOnce(&mut Store) -> io::Result<()> + Send + 'static,
    ) -> Result<Result<(), String>, Error> {
        let mut store = self.store.take().ok_or(Error::Defect)?;
        let working = tokio::task::spawn_blocking(move || {
            let result = work(&mut store);
            (store, result)
        });
        let (store, result) = working.await.map_err(|_| Error::Defect)?;
        self.store = Some(store);
        Ok(result.map_err(|error| error.to_string()))
    }

    async fn compact(&mut self) -> Result<(), Error> {
        if self.compaction.as_ref().is_some_and(JoinHandle::is_finished) {
            self.settle_compaction().await?;
        }
        let store = self.store.as_mut().ok_or(Error::Defect)?;
        if let Some(compaction) = store.compaction(self.subscriber.state()) {
            self.compaction = Some(tokio::task::spawn_blocking(move || compaction.run()));
        }
        Ok(())
    }

    async fn settle_compaction(&mut self) -> Result<(), Error> {
        if let Some(compaction) = self.compaction.take() {
            let result = compaction.await.map_err(|_| Error::Defect)?;
            self.store.as_mut().ok_or(Error::Defect)?.compacted(result);
        }
        Ok(())
    }
}

async fn next_event(link: &mut Option<Link>) -> Event<Down> {
    let event = match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    };
    if matches!(event, Event::Disconnected(_)) {
        *link = None;
    }
    event
}

async fn next_passed(passing: &mut Option<BoxFuture<'static, ()>>) {
    match passing {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
    *passing = None;
}

async fn next_fetched(fetch: &mut Option<Fetch>) -> Result<State, String> {
    match fetch {
        Some(fetch) => fetch.done().await,
        None => std::future::pending().await,
    }
}

fn input(event: Event<Down>) -> Input {
    match event {
        Event::Connected => Input::Connected,
        Event::Lines(lines) => Input::Lines(lines),
        Event::Disconnected(why) => Input::Disconnected(why),
    }
}

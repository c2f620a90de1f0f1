//! A proxy: the subscriber, the local store and the views that the binary links, and what its driver does around them.

mod driver;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dataplane::authorizer::Memory;
use dataplane::sync::directory::{Begun, begin};
use dataplane::sync::store::Store;
use dataplane::upstream::endpoint::{Endpoint, Identity};
use dataplane::view::{LeftOut, Reader, Views};
use shared::change::{Epoch, Revision};
use shared::digest::Digest;
use shared::stream::subscriber::{self, Input, Loaded, OnLeaseEnd, Output, Phase, Settings, Subscriber};
use shared::time::Time;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::dice::{MILLI, SECOND};
use crate::medium::{Condition, Medium};
use crate::network::ConnId;
use crate::requests::{Call, Request};
use crate::world::{Actor, World};

pub const WORKERS: usize = 2;

/// One data directory under one name, and the process on it while there is one.
pub struct Proxy {
    pub name: Arc<str>,
    pub instance: Uuid,
    pub medium: Arc<Medium>,
    pub clock: Clock,
    pub lease: Duration,
    /// The control plane that it dials first.
    pub first_address: usize,
    pub on_lease_end: OnLeaseEnd,
    pub life: u64,
    pub paused_until: u64,
    pub woke: u64,
    /// Within its lease without a break since then, in true time.
    pub leased_since: Option<u64>,
    pub up_stalled_until: u64,
    pub down_stalled_until: u64,
    pub run: Option<Box<Run>>,
    /// The last revision acknowledged: of whatever a restart loads, it must not be behind.
    pub said: Option<(Epoch, Revision)>,
}

/// What a table in use is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub epoch: Epoch,
    pub revision: Revision,
    pub digest: Digest,
}

pub struct Run {
    pub subscriber: Subscriber,
    store: Store,
    pub views: Arc<Views>,
    pub readers: Vec<Reader>,
    left: LeftOut,
    outputs: VecDeque<Output>,
    inbox: VecDeque<Inbox>,
    /// An output is being carried out.
    busy: bool,
    connection: Option<ConnId>,
    fetch: u64,
    drains: watch::Receiver<u64>,
    told_of_drains: bool,
    pub phase: Phase,
    pub listening: bool,
    pub opened: bool,
    pub memory: Arc<Memory>,
    /// Calls that have not been made yet.
    pub calls: Rc<RefCell<Vec<Call>>>,
    pub requests: BTreeMap<u64, Request>,
    pub last_request: u64,
    pub served: Option<Served>,
    /// Tables so far.
    pub swaps: u64,
    /// What withdraws leave is in use, and is acknowledged once all has left that was decided before it.
    pub passing: bool,
    /// The table is the first of its epoch, and what it left out is not retired yet.
    pub comes_over: bool,
    /// By its own clock.
    pub started: Time,
    hello_sent: Time,
    /// What had been promised to writers by then.
    pub promised_before: Revision,
    /// What the control plane is known to have heard of it, counted from its sending.
    pub proven: Option<Time>,
    pub stopping: bool,
}

enum Inbox {
    Input(Input),
    /// Read what drains at the moment of handing it in.
    Draining,
    /// As well, and say that it is the answer to the last `Retire`.
    Passed,
}

impl Proxy {
    pub fn connection(&self) -> Option<ConnId> {
        self.run.as_ref().and_then(|run| run.connection)
    }

    pub fn forget_connection(&mut self) {
        if let Some(run) = &mut self.run {
            run.connection = None;
        }
    }

    pub fn time(&self, now: u64) -> Time {
        self.clock.read(now)
    }

    pub fn was_proven_within(&self, time: Duration, now: u64) -> bool {
        let proven = self.run.as_ref().and_then(|run| run.proven);
        proven.is_some_and(|proven| self.time(now).since(proven) < time)
    }

    /// Whether it may believe that the control plane counts on it, by what was echoed and by its own clock.
    pub fn is_leased(&self, now: u64) -> bool {
        let Some(run) = &self.run else { return false };
        self.was_proven_within(self.lease, now) && run.phase == Phase::Serving { stale: false }
    }
}

impl World {
    pub fn start_proxy(&mut self, i: usize) {
        if self.proxies[i].run.is_some() {
            return;
        }
        let fresh = self.dice.uuid();
        let (seed, urls) = (self.dice.next(), self.planes.len());
        let node = &mut self.proxies[i];
        node.life += 1;
        node.paused_until = 0;
        node.medium.mend();
        let Ok(begun) = begin(node.medium.clone(), fresh) else {
            return;
        };
        let Begun {
            store,
            instance,
            boot,
            state,
            disk,
            ..
        } = begun;
        node.instance = instance;
        self.instances.insert((node.name.clone(), instance));
        let settings = Settings {
            identity: subscriber::Identity {
                name: node.name.clone(),
                instance,
                boot,
                build: "sim".into(),
            },
            lease: node.lease,
            on_lease_end: node.on_lease_end,
            urls,
            seed,
        };
        let loaded = state.as_ref().map(|state| (state.epoch, state.configured));
        let now = self.proxies[i].time(self.now);
        let (subscriber, outputs) = Subscriber::new(settings, Loaded { state, disk }, now);
        let views = Views::new(WORKERS);
        let node = &mut self.proxies[i];
        node.run = Some(Box::new(Run {
            subscriber,
            store,
            readers: (0..=WORKERS).map(|_| views.reader()).collect(),
            left: LeftOut::default(),
            outputs: outputs.into(),
            inbox: VecDeque::new(),
            busy: false,
            connection: None,
            fetch: 0,
            drains: views.changed(),
            told_of_drains: false,
            phase: Phase::Starting,
            listening: false,
            opened: false,
            memory: Arc::default(),
            calls: Rc::default(),
            requests: BTreeMap::new(),
            last_request: 0,
            served: None,
            swaps: 0,
            passing: false,
            comes_over: false,
            started: now,
            hello_sent: now,
            promised_before: Revision::ZERO,
            proven: None,
            stopping: false,
            views,
        }));
        if loaded.is_none() {
            self.begins_anew(i);
        }
        let node = &mut self.proxies[i];
        let (name, said, torn) = (node.name.clone(), node.said, node.medium.take_torn());
        if torn {
            self.count.add("torn tails");
        }
        self.count.add(match loaded {
            Some(_) => "starts from disk",
            None => "starts with nothing",
        });
        self.note(|| format!("proxy {i}: starts as {name} of {instance}, {boot}, with {loaded:?}"));
        self.check_start(i, loaded, said);
        self.turn(i);
        self.tick_proxy(i);
        self.next_request(i);
        self.next_guarded_request(i);
    }

    /// As by SIGKILL; what is being written may be torn.
    pub fn kill_proxy(&mut self, i: usize) {
        let Some(mut run) = self.proxies[i].run.take() else {
            return;
        };
        self.note(|| format!("proxy {i}: killed"));
        self.count.add("proxies killed");
        if run.busy {
            let percent = self.dice.below(100);
            self.proxies[i].medium.tear(percent);
            // It dies in the middle; nobody hears what came of it.
            let _ = match run.outputs.front() {
                Some(Output::Write(changes)) => run.store.write(changes).is_ok(),
                Some(Output::Save(state)) => run.store.save(state).is_ok(),
                _ => true,
            };
            self.proxies[i].medium.mend();
        }
        self.gone(i, run.connection);
    }

    fn gone(&mut self, i: usize, connection: Option<ConnId>) {
        self.proxies[i].life += 1;
        self.proxies[i].paused_until = 0;
        if let Some(id) = connection {
            let within = self.dice.one(&[MILLI, 50 * MILLI, 20 * SECOND]);
            self.hang_up(id, within);
        }
    }

    pub fn give(&mut self, i: usize, input: Input) {
        if let Some(run) = &mut self.proxies[i].run {
            run.inbox.push_back(Inbox::Input(input));
            self.turn(i);
        }
    }

    /// As by SIGTERM: listeners close, requests end or are cut, then goodbye.
    pub fn stop_proxy(&mut self, i: usize) {
        let grace = self.dice.between(SECOND, 8 * SECOND);
        let Some(run) = &mut self.proxies[i].run else { return };
        if std::mem::replace(&mut run.stopping, true) {
            return;
        }
        run.phase = Phase::Draining;
        run.listening = false;
        self.count.add("graceful stops");
        self.note(|| format!("proxy {i}: stops"));
        self.give(i, Input::Stopping);
        self.after(Actor::Proxy(i), grace, move |world| world.drop_requests(i));
        self.await_drain(i);
    }

    fn await_drain(&mut self, i: usize) {
        let idle = self.proxies[i].run.as_ref().is_some_and(|run| run.requests.is_empty());
        match idle {
            true => self.give(i, Input::Drained),
            false => self.after(Actor::Proxy(i), 20 * MILLI, move |world| world.await_drain(i)),
        }
    }

    fn finished(&mut self, i: usize) {
        self.note(|| format!("proxy {i}: has left"));
        let connection = self.proxies[i].run.take().and_then(|run| run.connection);
        self.gone(i, connection);
        if let Some(at) = self.faults.back_after_leaving(&mut self.dice) {
            self.after(Actor::World, at, move |world| world.start_alone(i));
        }
    }

    /// The endpoints that may be chosen now.
    pub fn endpoints(&self, i: usize) -> HashMap<Identity, Arc<Endpoint>> {
        let Some(run) = &self.proxies[i].run else {
            return HashMap::new();
        };
        let view = run.views.now();
        let candidates = view.pools().flat_map(|pool| pool.candidates());
        candidates
            .map(|one| (one.endpoint.identity().clone(), one.endpoint.clone()))
            .collect()
    }

    pub fn spoil_disk(&mut self, i: usize, condition: Condition, time: u64) {
        self.proxies[i].medium.set(condition);
        self.note(|| format!("proxy {i}: disk {condition:?}"));
        self.after(Actor::World, time, move |world| {
            world.proxies[i].medium.set(Condition::Good)
        });
    }
}

/// A snapshot as it travels.
fn through_a_file(state: &shared::state::State) -> shared::state::State {
    use shared::snapshot::{Limits, Scope, read, write};
    let mut bytes = Vec::new();
    write(state, Scope::Configuration, &mut bytes).expect("memory takes a snapshot");
    read(bytes.as_slice(), Limits::default()).expect("a snapshot can be read")
}

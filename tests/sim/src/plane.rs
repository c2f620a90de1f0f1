//! The control plane: the machines that the binary links, and the little that its shells do around them.

mod log;
mod peers;
mod rows;
mod store;
mod streams;
mod tail;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use controlplane::changelog::committer::{Committer, Stamp};
use controlplane::changelog::{Head, History};
use controlplane::holds::Holds;
use shared::change::{Commit, OpId, Revision};
use shared::state::State;
use shared::stream::hub::{Hub, WaitId};
use shared::stream::planes::PlaneId;
use shared::stream::publisher;
use shared::stream::roster::{PAUSE, SessionId};
use shared::time::Time;
use uuid::Uuid;

use crate::clients::{OpNumber, Waiting};
use crate::clock::Clock;
use crate::dice::{Dice, MILLI};
use crate::network::ConnId;
use crate::world::{Actor, World};
pub use peers::{PeerId, PeerLink};
pub use rows::Rows;
use rows::Sharing;
pub use store::Line;

pub struct Plane {
    pub clock: Clock,
    pub life: u64,
    pub paused_until: u64,
    /// How long it was stopped in all.
    pub paused: u64,
    pub line: Line,
    pub run: Option<Box<Run>>,
}

pub struct Run {
    pub committer: Committer,
    pub history: History,
    pub hub: Hub,
    pub holds: Holds,
    pub sharing: Option<Sharing>,
    tickets: HashMap<u64, Purpose>,
    last_ticket: u64,
    pub waits: HashMap<WaitId, Waiting>,
    sessions: HashMap<SessionId, ConnId>,
    /// An append that is under way.
    pub appending: Option<(Revision, Arc<Commit>)>,
    /// Configurations that a cache may still hold.
    snapshots: Vec<State>,
    /// When it began to run without a pause, by its own clock.
    pub since: Time,
    pulse: Time,
    pub heard: BTreeMap<Uuid, Heard>,
}

/// Of one instance, on connections that count.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Never silent for longer than its lease since then.
    pub since: Time,
    pub last: Time,
}

pub enum Purpose {
    Write(OpNumber),
    Forget(OpNumber),
    Join(ConnId),
    Look(ConnId),
    Leave(ConnId),
    /// Of a hold whose time is over: nobody waits for it.
    Expire,
}

impl Plane {
    pub fn new(dice: &mut Dice) -> Plane {
        Plane {
            clock: Clock::new(dice),
            life: 0,
            paused_until: 0,
            paused: 0,
            line: Line::default(),
            run: None,
        }
    }
}

impl World {
    pub fn plane_time(&self, n: usize) -> Time {
        self.planes[n].clock.read(self.now)
    }

    pub fn start_plane(&mut self, n: usize) {
        self.planes[n].life += 1;
        self.planes[n].paused_until = 0;
        let now = self.plane_time(n);
        if !self.shared || self.volume().core().is_none() {
            self.volume_mut().open();
        }
        self.learn();
        let core = self.volume().core().expect("it was opened");
        let head = Arc::new(Head::of(core.load().expect("the store can be read")));
        let mut history = History::after_floor(Revision::ZERO);
        let commits = core.read(Revision::ZERO, usize::MAX).unwrap_or_default();
        commits.into_iter().for_each(|commit| history.push(Arc::new(commit)));
        let recent = history.recent();
        let id = self.shared.then(|| PlaneId(self.dice.uuid()));
        let hub = Hub::new(&head.state, recent.iter().map(|commit| &**commit), id, now);
        let mut dice = Dice::new(self.dice.next());
        let holds = Holds::new(n as u64);
        let stamp = Box::new(move || Stamp {
            op_id: OpId(dice.uuid()),
            at_ms: 0,
        });
        self.note(|| format!("plane {n}: starts at revision {}", head.state.revision));
        self.planes[n].run = Some(Box::new(Run {
            committer: Committer::new(head, stamp),
            history,
            hub,
            holds,
            sharing: id.map(Sharing::new),
            tickets: HashMap::new(),
            last_ticket: 0,
            waits: HashMap::new(),
            sessions: HashMap::new(),
            appending: None,
            snapshots: Vec::new(),
            since: now,
            pulse: now,
            heard: BTreeMap::new(),
        }));
        self.tick_hub(n);
        if self.shared {
            self.look_for_tail(n);
            self.refresh_row(n);
            self.tick_listeners(n);
        }
        if self.faults.foreign && self.faults.follows {
            self.poll_tail(n);
        }
    }

    /// As by SIGKILL; perhaps in the middle of an append.
    pub fn kill_plane(&mut self, n: usize) {
        let Some(run) = self.planes[n].run.take() else { return };
        self.note(|| format!("plane {n}: killed"));
        self.planes[n].life += 1;
        if !self.shared {
            self.tear(&run);
        }
        drop(run);
        self.cut_all(n);
        self.end_peers(n);
        self.lose_clients(n);
    }

    /// The store dies with its process, perhaps in the middle of an append.
    fn tear(&mut self, run: &Run) {
        if let Some((after, commit)) = &run.appending
            && self.dice.percent(70)
        {
            let writes = self.dice.below(40);
            self.volume_mut().fail_after(writes);
            let done = self.volume().core().map(|core| core.append(*after, commit));
            self.note(|| format!("plane: dies in an append, {done:?}"));
            self.count.add("appends torn by a kill");
        }
        self.volume_mut().kill();
    }

    fn tick_hub(&mut self, n: usize) {
        let forget_after = self.faults.forget_after;
        let gone = self.hub(n, |hub, now| {
            hub.tick(now);
            forget_after.map_or(Vec::new(), |after| hub.roster().forgotten(after, now))
        });
        for (name, instance) in gone.unwrap_or_default().into_iter().take(1) {
            self.count.add("members forgotten after long");
            self.submit_forget(n, "forget-after".into(), name, instance);
        }
        self.end_holds_of_plane(n);
        self.after(Actor::Plane(n), 250 * MILLI, move |world| world.tick_hub(n));
    }

    /// Runs a call on the hub and tells everybody what came of it.
    pub fn hub<R>(&mut self, n: usize, call: impl FnOnce(&mut Hub, Time) -> R) -> Option<R> {
        let now = self.plane_time(n);
        let run = self.planes[n].run.as_mut()?;
        if now.since(run.pulse) > PAUSE {
            run.since = now;
        }
        run.pulse = now;
        let result = call(&mut run.hub, now);
        self.deliver(n);
        Some(result)
    }

    fn deliver(&mut self, n: usize) {
        let Some(run) = self.planes[n].run.as_mut() else { return };
        let news = run.hub.take_news();
        let closed: Vec<ConnId> = news
            .closed
            .iter()
            .filter_map(|session| run.sessions.remove(session))
            .collect();
        let finished: Vec<_> = news
            .finished
            .into_iter()
            .filter_map(|(id, report)| Some((run.waits.remove(&id)?, report)))
            .collect();
        for (waiting, report) in finished {
            self.finish(n, waiting, report);
        }
        if news.told {
            self.wake_tellers(n);
        }
        let mut woken = closed;
        if news.changed {
            let live = self.connections.iter();
            let live = live.filter(|(_, c)| c.plane == n && c.publisher.is_some());
            woken.extend(live.map(|(id, _)| *id));
        }
        for id in woken {
            let soon = self.dice.gap();
            self.after(Actor::Plane(n), soon, move |world| {
                world.publish(id, publisher::Input::Wake)
            });
        }
    }

    /// A configuration that the cache may hand out: not older than what was promised to connections.
    pub fn snapshot(&mut self, n: usize) -> Option<State> {
        let run = self.planes[n].run.as_ref()?;
        let head = &run.committer.head().state;
        let promised = run.hub.offered_revision();
        let fits = |state: &&State| state.epoch == head.epoch && state.configured >= promised;
        let fitting: Vec<State> = run.snapshots.iter().filter(fits).chain([head]).cloned().collect();
        let chosen = self.dice.index(fitting.len());
        fitting.into_iter().nth(chosen)
    }

    /// Stops it as by SIGSTOP.
    pub fn pause_plane(&mut self, n: usize, time: Duration) {
        let plane = &mut self.planes[n];
        plane.paused += time.as_nanos() as u64;
        plane.paused_until = plane.paused_until.max(self.now + time.as_nanos() as u64);
    }
}

fn summary(commit: &Commit) -> String {
    let ops = commit.ops.iter().map(|op| {
        let body = op.body.as_ref().map_or("", |body| body.as_str());
        format!("{:?} {} {body}", op.verb, op.object())
    });
    ops.collect::<Vec<_>>().join("; ")
}

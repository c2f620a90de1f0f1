//! The control plane: the machines that the binary links, and the little that its shells do around them.

mod log;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use controlplane::changelog::committer::{Committer, Stamp};
use controlplane::changelog::{Head, History};
use controlplane::push::join;
use controlplane::store::core::Core;
use shared::change::{Commit, OpId, Revision};
use shared::state::State;
use shared::stream::hub::{Hub, Refusal, WaitId};
use shared::stream::message::Up;
use shared::stream::publisher::{self, Closing, Output};
use shared::stream::roster::{PAUSE, SessionId};
use shared::time::Time;
use uuid::Uuid;

use crate::clients::{OpNumber, Waiting};
use crate::clock::Clock;
use crate::dice::{Dice, MILLI};
use crate::network::ConnId;
use crate::world::{Actor, World};

pub struct Plane {
    pub clock: Clock,
    /// Which store it runs on.
    pub volume: usize,
    pub life: u64,
    pub paused_until: u64,
    pub run: Option<Box<Run>>,
}

pub struct Run {
    pub core: Core,
    pub committer: Committer,
    pub history: History,
    pub hub: Hub,
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
    /// When an instance was heard last on a connection that counts.
    pub heard: BTreeMap<Uuid, Time>,
}

pub enum Purpose {
    Write(OpNumber),
    Forget(OpNumber),
    Join(ConnId),
    Leave(ConnId),
}

impl Plane {
    pub fn new(dice: &mut Dice) -> Plane {
        Plane {
            clock: Clock::new(dice),
            volume: 0,
            life: 0,
            paused_until: 0,
            run: None,
        }
    }
}

impl World {
    pub fn plane_time(&self) -> Time {
        self.plane.clock.read(self.now)
    }

    pub fn start_plane(&mut self) {
        self.plane.life += 1;
        self.plane.paused_until = 0;
        let now = self.plane_time();
        let core = self.volume_mut().open();
        let at = self.now;
        self.volume_mut().look(&core, at);
        let head = Arc::new(Head::of(core.load().expect("the store can be read")));
        let mut history = History::after_floor(Revision::ZERO);
        let commits = core.read(Revision::ZERO, usize::MAX).unwrap_or_default();
        commits.into_iter().for_each(|commit| history.push(Arc::new(commit)));
        let recent = history.recent();
        let hub = Hub::new(&head.state, recent.iter().map(|commit| &**commit), None, now);
        let mut dice = Dice::new(self.dice.next());
        let stamp = Box::new(move || Stamp {
            op_id: OpId(dice.uuid()),
            at_ms: 0,
        });
        self.note(|| format!("plane: starts at revision {}", head.state.revision));
        self.plane.run = Some(Box::new(Run {
            core,
            committer: Committer::new(head, stamp),
            history,
            hub,
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
        self.tick_hub();
        if self.faults.foreign && self.faults.follows {
            self.poll_tail();
        }
    }

    /// As by SIGKILL; perhaps in the middle of an append.
    pub fn kill_plane(&mut self) {
        let Some(run) = self.plane.run.take() else { return };
        self.note(|| "plane: killed");
        self.plane.life += 1;
        if let Some((after, commit)) = &run.appending
            && self.dice.percent(70)
        {
            let writes = self.dice.below(40);
            self.volume_mut().fail_after(writes);
            let done = run.core.append(*after, commit);
            self.note(|| format!("plane: dies in an append, {done:?}"));
            self.count.add("appends torn by a kill");
        }
        self.volume_mut().kill();
        drop(run);
        self.cut_all();
        self.lose_clients();
    }

    fn tick_hub(&mut self) {
        let forget_after = self.faults.forget_after;
        let gone = self.hub(|hub, now| {
            hub.tick(now);
            forget_after.map_or(Vec::new(), |after| hub.roster().forgotten(after, now))
        });
        for (name, instance) in gone.unwrap_or_default().into_iter().take(1) {
            self.count.add("members forgotten after long");
            self.submit_forget("forget-after".into(), name, instance);
        }
        self.after(Actor::Plane, 250 * MILLI, World::tick_hub);
    }

    /// Runs a call on the hub and tells everybody what came of it.
    pub fn hub<R>(&mut self, call: impl FnOnce(&mut Hub, Time) -> R) -> Option<R> {
        let now = self.plane_time();
        let run = self.plane.run.as_mut()?;
        if now.since(run.pulse) > PAUSE {
            run.since = now;
        }
        run.pulse = now;
        let result = call(&mut run.hub, now);
        self.deliver();
        Some(result)
    }

    fn deliver(&mut self) {
        let Some(run) = self.plane.run.as_mut() else { return };
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
            self.finish(waiting, report);
        }
        let mut woken = closed;
        if news.changed {
            let live = self.connections.iter().filter(|(_, c)| c.publisher.is_some());
            woken.extend(live.map(|(id, _)| *id));
        }
        for id in woken {
            let soon = self.dice.gap();
            self.after(Actor::Plane, soon, move |world| {
                world.publish(id, publisher::Input::Wake)
            });
        }
    }

    /// Takes down what the checks go by: whom this control plane has heard, by its own clock.
    pub fn heard(&mut self, id: ConnId, up: &Up) {
        let now = self.plane_time();
        let Some(instance) = self.connections.get(&id).map(|connection| connection.instance) else {
            return;
        };
        if let (Some(run), Up::State(_)) = (self.plane.run.as_mut(), up)
            && run.sessions.values().any(|live| *live == id)
        {
            run.heard.insert(instance, now);
        }
    }

    /// One input to one connection's publisher, with all that follows.
    pub fn publish(&mut self, id: ConnId, input: publisher::Input) {
        let Some(mut publisher) = self.connections.get_mut(&id).and_then(|c| c.publisher.take()) else {
            return;
        };
        let outputs = self
            .hub(|hub, now| publisher.handle(input, hub, now))
            .unwrap_or_default();
        let session = publisher.session();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.publisher = Some(publisher);
        }
        for output in outputs {
            match output {
                Output::Refuse(refusal) => {
                    self.refused(id, &refusal);
                    self.refuse(id, Some(&refusal));
                }
                // Only on a shared store.
                Output::Look | Output::Unavailable => self.refuse(id, None),
                Output::Join { name, member, replaces } => {
                    self.count.add("joins");
                    if replaces.is_some() {
                        self.count.add("instances replaced");
                    }
                    let decide = join::joining(name.clone(), member, replaces);
                    self.submit(name, decide, Purpose::Join(id));
                }
                Output::Accept => {
                    if let (Some(run), Some(session)) = (self.plane.run.as_mut(), session) {
                        run.sessions.insert(session, id);
                    }
                }
                Output::Send(bytes) => self.send_lines(id, bytes),
                // Here nobody asks.
                Output::Answered(_) => {}
                Output::Leave { name, instance } => {
                    self.count.add("goodbyes");
                    self.submit(name.clone(), join::leaving(name, instance, true), Purpose::Leave(id));
                }
                Output::Close(closing) => self.closed(id, closing),
            }
        }
    }

    fn closed(&mut self, id: ConnId, closing: Closing) {
        self.note(|| format!("plane: connection {id} ends, {closing:?}"));
        match closing {
            Closing::Evicted => self.count.add("connections evicted"),
            Closing::NoProgress => self.count.add("connections without progress"),
            _ => {}
        }
        self.end_down(id);
    }

    /// Whether the refusal is one that the rules allow.
    fn refused(&mut self, id: ConnId, refusal: &Refusal) {
        self.note(|| format!("plane: connection {id} is refused, {refusal}"));
        self.count.add(match refusal {
            Refusal::Held { .. } => "names held by another instance",
            Refusal::OtherEpoch { .. } => "other epochs refused",
            Refusal::Ahead { .. } => "proxies ahead of the store refused",
            Refusal::Diverged { .. } => "proxies of another history refused",
            _ => "other refusals",
        });
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (name, instance) = (self.proxies[connection.proxy].name.clone(), connection.instance);
        let held = matches!(refusal, Refusal::Held { .. });
        // A join of which the plane does not know yet that it stands is none to it.
        let known = self.plane.run.as_ref().map(|run| run.committer.head().state.revision);
        let members = known.map_or(Vec::new(), |known| self.volume().members(known));
        if held
            && members
                .iter()
                .any(|(n, member)| *n == name && member.instance == instance)
        {
            self.violate(format!("{name} was refused its own name after a restart"));
        }
        let lost_history = matches!(refusal, Refusal::Ahead { .. } | Refusal::Diverged { .. });
        if lost_history && self.volume().went_back.is_none() {
            self.violate(format!("{name} was refused as if the store had gone back: {refusal}"));
        }
    }

    /// A configuration that the cache may hand out: not older than what was promised to connections.
    pub fn snapshot(&mut self) -> Option<State> {
        let run = self.plane.run.as_ref()?;
        let head = &run.committer.head().state;
        let promised = run.hub.offered_revision();
        let fits = |state: &&State| state.epoch == head.epoch && state.configured >= promised;
        let fitting: Vec<State> = run.snapshots.iter().filter(fits).chain([head]).cloned().collect();
        let chosen = self.dice.index(fitting.len());
        fitting.into_iter().nth(chosen)
    }

    /// Stops it as by SIGSTOP.
    pub fn pause_plane(&mut self, time: Duration) {
        self.plane.paused_until = self.plane.paused_until.max(self.now + time.as_nanos() as u64);
    }
}

enum Outcome {
    True,
    Unavailable,
    UnknownDone,
    UnknownLater,
}

fn summary(commit: &Commit) -> String {
    let ops = commit.ops.iter().map(|op| {
        let body = op.body.as_ref().map_or("", |body| body.as_str());
        format!("{:?} {} {body}", op.verb, op.object())
    });
    ops.collect::<Vec<_>>().join("; ")
}

//! The task that holds the owner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shared::change::{Commit, Kind, Revision};
use shared::quota::owner::{Input, Output, Roster};
use shared::quota::{Label, Owner, Settings, Shard, Up};
use shared::stream::roster::Member;
use shared::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Setup;
use super::calls::{Answered, Call, Calls};
use super::clock::Clock;
use super::departures::Departures;
use super::post::Post;
use super::sweep::{Sweep, Swept};
use crate::changelog::{Changelog, Head, Recent};
use crate::push::Fleet;

/// While there is something to own.
const TICK: Duration = Duration::from_millis(20);
/// What proxies said and is handled before anything is sent.
const ROUND_MAX: usize = 256;
/// An owner that resigned comes back after so long.
const REST: Duration = Duration::from_millis(50);
/// Between two tries to read the roster.
const ROSTER_AGAIN: Duration = Duration::from_millis(100);
/// Shards are kept for so long after the last limit is gone: it may come back, and what was charged counts then.
const KEPT_FOR: Duration = Duration::from_secs(150);
/// For what is written back at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

pub struct Driver {
    changelog: Arc<Changelog>,
    fleet: Arc<Fleet>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    heard: mpsc::Receiver<Box<Up>>,
    moves: watch::Receiver<Revision>,
    /// None: it resigned a moment ago.
    owner: Option<Owner>,
    /// Counts the incarnations.
    life: u64,
    /// Where the next incarnation begins, and when.
    floor: (Label, Time),
    begin_at: Instant,
    /// Everything up to it was handed to the owner.
    head: Arc<Head>,
    departures: Departures,
    members: BTreeSet<Uuid>,
    wanted: u64,
    /// Whether there is something to count, and when there was last.
    is_limited: bool,
    limited_at: Option<Instant>,
    calls: Calls,
    sweep: Sweep,
    post: Post,
    rosters: Rosters,
}

/// Reads of the roster at the log's true head. One serves all that asked before it began.
#[derive(Default)]
struct Rosters {
    waiting: BTreeSet<Shard>,
    reading: Option<(BTreeSet<Shard>, BoxFuture<'static, ()>)>,
}

enum Event {
    Tick,
    Heard(Box<Up>),
    Cell(Answered),
    Roster(BTreeSet<Shard>),
    Swept(Swept),
    /// The log has moved, or a proxy came.
    Look,
}

impl Driver {
    pub fn new(setup: Setup, heard: mpsc::Receiver<Box<Up>>) -> Driver {
        let Setup {
            changelog,
            fleet,
            cells,
            clock,
            settings,
        } = setup;
        let moves = changelog.moves();
        let (head, recent) = changelog.with_recent();
        Driver {
            departures: Departures::of(recent.iter().map(|commit| &**commit)),
            members: members(&head),
            head,
            fleet,
            clock,
            settings,
            heard,
            moves,
            owner: None,
            life: 0,
            floor: (Label::ZERO, Time::ZERO),
            begin_at: Instant::now(),
            wanted: 0,
            is_limited: false,
            limited_at: None,
            calls: Calls::new(cells.clone()),
            sweep: Sweep::new(cells),
            post: Post::default(),
            rosters: Rosters::default(),
            changelog,
        }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin();
        loop {
            let is_active = self.is_active();
            let event = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick(), if is_active => Event::Tick,
                Some(up) = self.heard.recv() => Event::Heard(up),
                answered = self.calls.next() => Event::Cell(answered),
                shards = self.rosters.read() => Event::Roster(shards),
                swept = self.sweep.finished() => Event::Swept(swept),
                Ok(()) = self.moves.changed() => Event::Look,
                () = self.fleet.arrived() => Event::Look,
            };
            // What proxies say may build on what the log says.
            self.follow_log();
            self.handle(event);
            self.finish_round();
        }
        self.leave().await;
    }

    /// Without limits, and with nothing held, there is nothing to do.
    fn is_active(&self) -> bool {
        self.wanted != 0 || self.is_limited || self.owner.as_ref().is_none_or(|owner| owner.epochs().next().is_some())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Heard(up) => {
                self.input(Input::Message(*up));
                for _ in 1..ROUND_MAX {
                    let Ok(up) = self.heard.try_recv() else { break };
                    self.input(Input::Message(*up));
                }
            }
            Event::Cell(answered) => self.answered(answered),
            Event::Roster(shards) => self.roster_read(shards),
            Event::Swept(swept) => swept.tell(&self.fleet),
            Event::Look => {}
        }
    }

    fn finish_round(&mut self) {
        if self.is_limited {
            self.sweep.look(&self.fleet);
        }
        let changelog = &self.changelog;
        self.rosters.look(|| read_head(changelog.clone()));
        // Whoever is not here is with no other control plane either.
        self.post.deliver(&self.fleet);
    }

    fn tick(&mut self) {
        if self.owner.is_none() && Instant::now() >= self.begin_at {
            self.begin();
        }
        self.want_shards();
        for answered in self.calls.take_refused() {
            self.answered(answered);
        }
        self.input(Input::Tick);
    }

    fn begin(&mut self) {
        self.life += 1;
        let owner = Owner::new(Uuid::new_v4(), self.settings, self.clock.read(), self.floor);
        tracing::debug!(incarnation = %owner.incarnation(), "an owner of limits begins");
        self.owner = Some(owner);
        self.wanted = 0;
        self.rosters.waiting.clear();
        self.input(Input::Members(self.members.clone()));
        self.replace_rules();
    }

    fn replace_rules(&mut self) {
        let rules = self.head.table.rules(self.head.state.configured);
        self.is_limited = !rules.rules.is_empty();
        self.input(Input::Rules(rules));
        self.want_shards();
    }

    /// All of them, while there are limits.
    fn want_shards(&mut self) {
        let now = Instant::now();
        if self.is_limited {
            self.limited_at = Some(now);
        }
        let is_limited = self.limited_at.is_some_and(|at| now - at < KEPT_FOR);
        let wanted = if is_limited { u64::MAX } else { 0 };
        if wanted != self.wanted {
            self.wanted = wanted;
            self.input(Input::Shards(wanted));
        }
    }

    fn input(&mut self, input: Input) {
        let Some(owner) = &mut self.owner else { return };
        for output in owner.handle(input, self.clock.read()) {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send(down) => self.post.add(down),
            Output::Get(key) => self.calls.make(self.life, Call::Get(key)),
            Output::Swap { key, expected, new } => self.calls.make(self.life, Call::Swap { key, expected, new }),
            Output::ReadRoster(shard) => {
                self.rosters.waiting.insert(shard);
            }
            // There is no other control plane to take it.
            Output::Handover(_) => {}
            Output::Resign { floor } => {
                tracing::warn!("the owner of limits begins anew: its label time was not to be trusted");
                self.owner = None;
                self.floor = floor;
                self.begin_at = Instant::now() + REST;
            }
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered { life, key, outcome } = answered;
        // What a former incarnation asked is nothing to this one.
        if life == self.life {
            self.input(Input::Cell { key, outcome });
        }
    }

    fn roster_read(&mut self, shards: BTreeSet<Shard>) {
        let now = self.owner.as_ref().map_or(Label::ZERO, Owner::label);
        let roster = Roster {
            members: self.members.clone(),
            left: self.departures.since(now, self.settings.forget_after),
        };
        for shard in shards {
            let roster = roster.clone();
            self.input(Input::Roster { shard, roster });
        }
    }

    /// Hands on what was committed, in order.
    fn follow_log(&mut self) {
        let head = self.changelog.head();
        if head.state.revision == self.head.state.revision {
            return;
        }
        let now = self.owner.as_ref().map_or(Label::ZERO, Owner::label);
        let moved = match self.changelog.after(self.head.state.revision, usize::MAX) {
            Some(commits) => {
                let reached = commits.iter().filter(|commit| commit.revision <= head.state.revision);
                let mut of_roster = reached.filter(|commit| is_of_roster(commit)).peekable();
                let moved = of_roster.peek().is_some();
                of_roster.for_each(|commit| self.departed(commit, now));
                moved
            }
            None => {
                self.departures.missed(now);
                true
            }
        };
        let former = std::mem::replace(&mut self.head, head);
        if moved {
            self.members = members(&self.head);
            self.input(Input::Members(self.members.clone()));
        }
        if !self.head.table.has_limits_of(&former.table) {
            self.replace_rules();
        }
    }

    fn departed(&mut self, commit: &Commit, now: Label) {
        for departed in self.departures.commit(commit, now) {
            let Some(boot) = departed.how.boot.filter(|_| departed.how.goodbye) else {
                continue;
            };
            // A life that began since is not over.
            let met = self.owner.as_ref().and_then(|owner| owner.met(departed.instance));
            if met.is_none_or(|met| met <= boot) {
                self.input(Input::Goodbye(departed.instance));
            }
        }
    }

    /// Hands over, and writes back what accounts of the store had reserved.
    async fn leave(mut self) {
        self.input(Input::Leave);
        self.finish_round();
        let written = async {
            while !self.calls.is_idle() {
                self.calls.next().await;
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, written).await.is_err() {
            tracing::warn!("what limits had reserved could not be written back: it counts until its period is over");
        }
    }
}

impl Rosters {
    fn look(&mut self, read: impl FnOnce() -> BoxFuture<'static, ()>) {
        if self.reading.is_none() && !self.waiting.is_empty() {
            self.reading = Some((std::mem::take(&mut self.waiting), read()));
        }
    }

    async fn read(&mut self) -> BTreeSet<Shard> {
        match &mut self.reading {
            Some((_, read)) => read.await,
            None => return std::future::pending().await,
        }
        self.reading.take().map(|(shards, _)| shards).unwrap_or_default()
    }
}

/// The changelog's head is then as new as this call.
fn read_head(changelog: Arc<Changelog>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while changelog.true_head("limits".into()).await.is_err() {
            tokio::time::sleep(ROSTER_AGAIN).await;
        }
    })
}

fn is_of_roster(commit: &Commit) -> bool {
    commit.ops.iter().any(|op| op.kind == Kind::Member)
}

fn members(head: &Head) -> BTreeSet<Uuid> {
    let from = shared::change::ObjectKey::member("");
    let members = head.state.objects.range(from..);
    let members = members.take_while(|(key, _)| key.kind == Kind::Member);
    let read =
        |(_, object): (_, &Arc<shared::state::Object>)| serde_json::from_str::<Member>(object.body.as_str()).ok();
    members.filter_map(read).map(|member| member.instance).collect()
}

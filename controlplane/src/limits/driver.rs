//! The task that holds the owner.

mod elsewhere;
mod flights;
mod log;
mod resets;
mod rosters;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shared::change::Revision;
use shared::quota::owner::{Input, Output};
use shared::quota::{Label, Owner, Settings, Shard, Up};
use shared::time::Time;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::asking::{Answer, Question};
use super::calls::{Answered, Call, Calls};
use super::clock::Clock;
use super::departures::Departures;
use super::peers::Incoming;
use super::post::Post;
use super::relay::Relay;
use super::shards::share;
use super::sweep::{Sweep, Swept};
use super::{Inbox, Setup};
use crate::changelog::{Changelog, Head};
use crate::push::Fleet;
use flights::Flights;
use log::members;
use resets::Reset;
use rosters::{Rosters, read_head};

/// While there is something to own.
const TICK: Duration = Duration::from_millis(20);
/// What proxies said and is handled before anything is sent.
const ROUND_MAX: usize = 256;
/// An owner that resigned comes back after so long.
const REST: Duration = Duration::from_millis(50);
/// Shards are kept for so long after the last limit is gone: it may come back, and what was charged counts then.
const KEPT_FOR: Duration = Duration::from_secs(150);
/// On a shared store nothing is claimed before: others may be there.
const LOOK_AROUND: Duration = Duration::from_millis(1_200);
/// For what is written back and handed over at the end.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

pub struct Driver {
    changelog: Arc<Changelog>,
    fleet: Arc<Fleet>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    inbox: Inbox,
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
    resets: Vec<Reset>,
    flights: Flights,
    /// None: there can be no other control plane.
    relay: Option<Relay>,
    began: Instant,
}

enum Event {
    Tick,
    Heard(Box<Up>),
    Peer(Incoming),
    Asked(Question),
    Cell(Answered),
    Roster(BTreeSet<Shard>),
    Swept(Swept),
    /// The log has moved, or a proxy came.
    Look,
}

impl Driver {
    pub fn new(setup: Setup, inbox: Inbox, relay: Option<Relay>) -> Driver {
        let Setup {
            changelog,
            fleet,
            cells,
            clock,
            settings,
            ..
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
            inbox,
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
            resets: Vec::new(),
            flights: Flights::default(),
            relay,
            began: Instant::now(),
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
                Some(up) = self.inbox.heard.recv() => Event::Heard(up),
                Some(incoming) = self.inbox.incoming.recv() => Event::Peer(incoming),
                Some(question) = self.inbox.questions.recv() => Event::Asked(question),
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
                self.heard(up);
                for _ in 1..ROUND_MAX {
                    let Ok(up) = self.inbox.heard.try_recv() else { break };
                    self.heard(up);
                }
            }
            Event::Peer(incoming) => {
                self.incoming(incoming);
                for _ in 1..ROUND_MAX {
                    let Ok(incoming) = self.inbox.incoming.try_recv() else {
                        break;
                    };
                    self.incoming(incoming);
                }
            }
            Event::Asked(question) => self.asked(question),
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
        self.finish_resets();
        self.finish_flights();
        let changelog = &self.changelog;
        self.rosters.look(|| read_head(changelog.clone()));
        let elsewhere = self.post.deliver(&self.fleet);
        if let Some(relay) = &self.relay {
            elsewhere.into_iter().for_each(|down| relay.down(down));
        }
    }

    /// From a proxy here.
    fn heard(&mut self, up: Box<Up>) {
        let is_here = self.owner.as_ref().is_some_and(|owner| owner.incarnation() == up.to);
        match &self.relay {
            Some(relay) if !is_here => relay.up(up),
            _ => {
                self.knows(&up);
                self.input(Input::Message(*up));
            }
        }
    }

    fn asked(&mut self, question: Question) {
        // Whoever asked may not wait any more.
        match question {
            Question::Usage(account, answer) => {
                let usage = self.owner.as_ref().and_then(|owner| owner.usage(&account));
                let _ = answer.send(usage.map_or_else(|| self.elsewhere(), Answer::Here));
            }
            Question::Reset(account, answer) => self.reset(account, answer),
            Question::InFlight(account, answer) => self.ask_in_flight(account, answer),
        }
    }

    fn elsewhere<T>(&self) -> Answer<T> {
        Answer::Elsewhere(self.relay.as_ref().map(Relay::urls).unwrap_or_default())
    }

    fn tick(&mut self) {
        if self.owner.is_none() && Instant::now() >= self.begin_at {
            self.begin();
        }
        self.look_around();
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
        self.is_limited = !rules.is_empty();
        self.input(Input::Rules(rules));
        self.want_shards();
    }

    /// The own ones of all, while there are limits.
    fn want_shards(&mut self) {
        let now = Instant::now();
        if self.is_limited {
            self.limited_at = Some(now);
        }
        let is_limited = self.limited_at.is_some_and(|at| now - at < KEPT_FOR);
        let wanted = match &self.relay {
            _ if !is_limited => 0,
            None => u64::MAX,
            // Who else is there is not known yet.
            Some(_) if now - self.began < LOOK_AROUND => 0,
            Some(relay) => share(relay.own().0, &relay.there()),
        };
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
            Output::Handover(handover) => {
                if let Some(relay) = &self.relay {
                    relay.hand_over(handover);
                }
            }
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

    /// Hands over, and writes back what accounts of the store had reserved.
    async fn leave(mut self) {
        self.input(Input::Leave);
        self.finish_round();
        let mut told = self.relay.as_ref().map(Relay::leave).unwrap_or_default();
        let left = async {
            while !self.calls.is_idle() || !told.is_empty() {
                tokio::select! {
                    _ = self.calls.next() => {}
                    Some(incoming) = self.inbox.incoming.recv() => match incoming {
                        Incoming::Answered { from, .. } | Incoming::Lost { from } => drop(told.remove(&from)),
                        Incoming::Told { .. } => {}
                    },
                }
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, left).await.is_err() {
            tracing::warn!("what limits had granted could not be handed over: it counts until it is known to be over");
        }
    }
}

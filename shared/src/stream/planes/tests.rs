//! Two control planes on one log, listening to each other by the machines that the binary links.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::change::Revision;
use crate::stream::fixture::{LEASE, Log, at, hello, instance, level};
use crate::stream::hub::{Greeting, Hub, Presence, WaitId};
use crate::stream::message::State as Said;
use crate::stream::planes::listener::{Input as Heard, Listener, Output as Act};
use crate::stream::planes::message::Told;
use crate::stream::planes::teller::{Input as Asked, Output as Tell, Teller};
use crate::stream::roster::{Admission, SessionId, Slot};
use crate::stream::wait::{Condition, WaitSpec};

const A: usize = 0;
const B: usize = 1;
/// A row is unchanged for so long, and then lease and margin pass.
const GONE: u64 = 15_000 + 10_000 + 2_000;

struct Plane {
    hub: Hub,
    listener: Listener,
    /// At the other's end of what the listener hears.
    teller: Option<Teller>,
    beat: i64,
    /// Refreshes its row, and reads rows and log.
    has_store: bool,
    finished: Vec<WaitId>,
}

struct World {
    log: Log,
    planes: [Plane; 2],
    linked: bool,
    now: u64,
}

fn id(n: usize) -> PlaneId {
    PlaneId(instance(1_000 + n as u128))
}

impl World {
    fn new() -> World {
        let mut log = Log::new();
        log.join("p", instance(1));
        log.join("q", instance(2));
        log.service("web");
        let plane = |n: usize| Plane {
            hub: Hub::new(&log.state, &log.commits, Some(id(n)), at(0)),
            listener: Listener::new(id(1 - n), 7, at(0)),
            teller: None,
            beat: 0,
            has_store: true,
            finished: Vec::new(),
        };
        let planes = [plane(A), plane(B)];
        let mut world = World {
            log,
            planes,
            linked: true,
            now: 0,
        };
        world.run(4_000);
        world
    }

    fn hub(&mut self, n: usize) -> &mut Hub {
        &mut self.planes[n].hub
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 250;
            self.store();
            for n in [A, B] {
                let now = at(self.now);
                self.planes[n].hub.tick(now);
                self.listen(n, Heard::Tick);
                self.tell(n, Asked::Tick);
                self.take_news(n);
            }
        }
    }

    fn store(&mut self) {
        let now = at(self.now);
        for plane in self.planes.iter_mut().filter(|plane| plane.has_store) {
            plane.beat += 1;
        }
        let rows = [A, B].map(|n| Row {
            id: id(n),
            url: ["http://a", "http://b"][n].into(),
            beat: self.planes[n].beat,
        });
        for plane in self.planes.iter_mut().filter(|plane| plane.has_store) {
            plane.hub.row_written(now, now);
            plane.hub.rows_read(&rows, now, now);
            plane.hub.log_read(now, now);
        }
    }

    fn take_news(&mut self, n: usize) {
        let news = self.planes[n].hub.take_news();
        self.planes[n]
            .finished
            .extend(news.finished.into_iter().map(|(id, _)| id));
        // Whoever listens to this one.
        self.tell(1 - n, Asked::Wake);
    }

    /// To the machine at the other one that tells `n`.
    fn tell(&mut self, n: usize, input: Asked) {
        let now = at(self.now);
        let mut input = Some(input);
        while let Some(given) = input.take() {
            let [a, b] = &mut self.planes;
            let (listening, telling) = if n == A { (a, b) } else { (b, a) };
            let Some(teller) = &mut listening.teller else { return };
            match teller.handle(given, &telling.hub, now) {
                Some(Tell::Accept) => input = Some(Asked::Wake),
                Some(Tell::Send(bytes)) => {
                    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                    let lines: Vec<Told> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
                    self.listen(n, Heard::Lines(lines));
                    input = Some(Asked::Written);
                }
                Some(Tell::Refuse(_) | Tell::Close) => {
                    listening.teller = None;
                    self.listen(n, Heard::Disconnected);
                }
                None => {}
            }
        }
    }

    fn listen(&mut self, n: usize, input: Heard) {
        let now = at(self.now);
        let plane = &mut self.planes[n];
        for output in plane.listener.handle(input, &mut plane.hub, now) {
            match output {
                Act::Connect if self.linked => {
                    self.planes[n].teller = Some(Teller::new(now));
                    self.listen(n, Heard::Connected);
                }
                Act::Connect => {}
                Act::Send(asked) if self.linked => self.tell(n, Asked::Line(asked)),
                Act::Send(_) | Act::Moved(_) => {}
                Act::Close => self.planes[n].teller = None,
            }
        }
        self.take_finished(n);
    }

    fn take_finished(&mut self, n: usize) {
        let news = self.planes[n].hub.take_news();
        self.planes[n]
            .finished
            .extend(news.finished.into_iter().map(|(id, _)| id));
    }

    fn attach(&mut self, n: usize, name: &str, of: u128, boot: u64) -> (Slot, SessionId) {
        let now = at(self.now);
        let mut hello = hello(name, instance(of), boot);
        hello.epoch = Some(self.log.state.epoch);
        hello.since = self.log.state.configured;
        hello.digest = self.log.state.digest;
        let entered = self.hub(n).enter(&hello, now).unwrap();
        assert!(!entered.welcome.leased);
        (entered.slot, entered.session)
    }

    fn say(&mut self, n: usize, (slot, session): (Slot, SessionId), applied: u64) {
        let now = at(self.now);
        let said = Said {
            sent: now,
            level: Some(level(applied)),
        };
        assert!(self.hub(n).state(slot, session, said, now));
        self.take_news(n);
    }

    /// Keeps a connection alive for so long.
    fn talk(&mut self, n: usize, at: (Slot, SessionId), applied: u64, ms: u64) {
        for _ in 0..ms / 250 {
            self.say(n, at, applied);
            self.run(250);
        }
    }

    fn commit(&mut self) -> Revision {
        let commit = self.log.service(&format!("s{}", self.log.commits.len()));
        let now = at(self.now);
        for n in [A, B] {
            let state = self.log.state.clone();
            self.hub(n).committed(&commit, &state, now);
        }
        commit.revision
    }

    fn wait(&mut self, n: usize, revision: Revision) -> Option<WaitId> {
        let spec = WaitSpec {
            revision,
            condition: Condition::Applied,
            objects: Vec::new(),
        };
        let now = at(self.now);
        self.hub(n).wait(spec, now).ok()
    }

    fn is_over(&self, n: usize, wait: WaitId) -> bool {
        self.planes[n].finished.contains(&wait)
    }

    fn echoes(&self, n: usize, slot: Slot) -> bool {
        self.planes[n].hub.roster().may_echo(slot, at(self.now))
    }

    fn is_detached(&self, n: usize, name: &str) -> bool {
        let roster = self.planes[n].hub.roster();
        let (_, peer) = roster.member(name).unwrap();
        roster.is_detached(peer, at(self.now))
    }
}

#[test]
fn a_write_waits_for_the_proxies_of_all() {
    let mut world = World::new();
    let p = world.attach(A, "p", 1, 1);
    let q = world.attach(B, "q", 2, 1);
    let revision = world.commit();
    let wait = world.wait(A, revision).unwrap();
    world.say(A, p, revision.0);
    world.run(250);
    assert!(!world.is_over(A, wait));
    world.say(B, q, revision.0);
    assert!(world.is_over(A, wait));
    // The next one of the same proxy comes as a number among others.
    let revision = world.commit();
    let wait = world.wait(A, revision).unwrap();
    world.say(A, p, revision.0);
    world.say(B, q, revision.0);
    assert!(world.is_over(A, wait));
    let shown = serde_json::to_value(world.hub(A).member("q", at(4_500))).unwrap();
    assert_eq!((&shown["state"], &shown["lag"]), (&"present".into(), &0.into()));
    assert_eq!(
        &*world.hub(A).member("q", at(4_500)).unwrap().elsewhere.unwrap(),
        "http://b"
    );
}

#[test]
fn one_that_moves_is_counted_once() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let revision = world.commit();
    let wait = world.wait(A, revision).unwrap();
    world.say(B, p, revision.0);
    let again = world.attach(A, "p", 1, 1);
    world.say(A, again, revision.0);
    world.run(500);
    assert!(!world.is_over(A, wait), "q was not reached");
}

#[test]
fn what_an_earlier_start_said_elsewhere_speaks_for_none() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let q = world.attach(A, "q", 2, 1);
    let revision = world.commit();
    world.say(B, p, revision.0);
    world.attach(A, "p", 1, 2);
    world.say(A, q, revision.0);
    let wait = world.wait(A, revision).expect("the second start has said nothing");
    world.run(500);
    assert!(!world.is_over(A, wait));
    let older = hello("p", instance(1), 1);
    let now = at(world.now);
    assert_eq!(
        world.hub(B).greet(&older, now),
        Greeting::Refuse(crate::stream::hub::Refusal::OlderBoot { known: 2 })
    );
}

#[test]
fn nobody_is_echoed_before_the_others_know_and_it_has_what_they_answered() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let before = world.log.state.configured;
    world.talk(B, p, before.0, 2_250);
    assert!(!world.echoes(B, p.0), "the others may not know yet");
    let revision = world.commit();
    world.talk(B, p, before.0, 1_000);
    assert!(!world.echoes(B, p.0), "it lacks what was answered meanwhile");
    world.talk(B, p, revision.0, 250);
    assert!(world.echoes(B, p.0));
}

#[test]
fn one_cut_off_from_the_store_keeps_no_lease_and_begins_anew() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let applied = world.log.state.configured.0;
    world.talk(B, p, applied, 4_000);
    assert!(world.echoes(B, p.0));
    world.planes[B].has_store = false;
    world.talk(B, p, applied, 5_500);
    assert!(!world.echoes(B, p.0));
    world.planes[B].has_store = true;
    world.talk(B, p, applied, 2_250);
    assert!(!world.echoes(B, p.0), "the others must know first that it is back");
    world.talk(B, p, applied, 1_000);
    assert!(world.echoes(B, p.0));
}

#[test]
fn without_its_word_its_proxies_count_until_it_is_gone_for_certain() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let applied = world.log.state.configured.0;
    world.talk(B, p, applied, 4_000);
    // Killed.
    world.linked = false;
    world.planes[B].has_store = false;
    world.run(GONE - 250);
    assert!(!world.is_detached(A, "p"));
    assert!(!world.is_detached(A, "q"), "who knows where q is");
    world.run(500);
    assert!(world.is_detached(A, "p") && world.is_detached(A, "q"));
}

#[test]
fn by_its_word_who_is_held_nowhere_is_detached_at_once() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    let applied = world.log.state.configured.0;
    world.talk(B, p, applied, 4_000 + LEASE.as_millis() as u64);
    assert!(!world.is_detached(A, "p"));
    assert!(world.is_detached(A, "q"));
    // Cut off from its peers only.
    world.linked = false;
    world.run(3_000);
    assert!(
        !world.is_detached(A, "q"),
        "it may have come to the other one meanwhile"
    );
}

#[test]
fn who_cannot_read_the_rows_calls_nobody_detached() {
    let mut world = World::new();
    world.run(20_000);
    assert!(world.is_detached(A, "p"));
    world.planes[A].has_store = false;
    world.run(3_000);
    assert!(!world.is_detached(A, "p"), "a third one may have begun");
}

#[test]
fn a_goodbye_elsewhere_ends_it() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    world.talk(B, p, 3, 1_000);
    let now = at(world.now);
    world.hub(B).farewell(p.0, p.1, now);
    let commit = world.log.leave("p", true);
    for n in [A, B] {
        let state = world.log.state.clone();
        world.hub(n).committed(&commit, &state, now);
    }
    let q = world.attach(A, "q", 2, 1);
    let revision = world.commit();
    let wait = world.wait(A, revision).unwrap();
    world.say(A, q, revision.0);
    world.run(1_000);
    assert!(world.is_over(A, wait), "nobody waits for one that left");
}

#[test]
fn a_goodbye_that_a_restart_outran_does_not() {
    let mut world = World::new();
    let p = world.attach(A, "p", 1, 2);
    world.talk(A, p, 3, 1_000);
    let q = world.attach(B, "q", 2, 1);
    // That of its first start, through the other one; A has not read it yet.
    let commit = world.log.leave("p", true);
    let (now, state) = (at(world.now), world.log.state.clone());
    world.hub(B).committed(&commit, &state, now);
    let service = world.log.service("next");
    let state = world.log.state.clone();
    world.hub(B).committed(&service, &state, now);
    let wait = world.wait(B, service.revision).expect("p is served by A");
    world.say(B, q, service.revision.0);
    world.run(1_000);
    assert!(!world.is_over(B, wait), "p is still to be waited for");
}

#[test]
fn another_instance_waits_for_one_that_is_held_elsewhere() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    world.talk(B, p, 3, 20_000);
    let now = at(world.now);
    let refused = world.hub(A).greet(&hello("p", instance(9), 1), now);
    assert!(matches!(
        refused,
        Greeting::Refuse(crate::stream::hub::Refusal::Held { wait }) if wait == LEASE + Duration::from_secs(2)
    ));
}

#[test]
fn the_fleet_is_seen_alike_everywhere() {
    let mut world = World::new();
    let p = world.attach(B, "p", 1, 1);
    world.talk(B, p, 3, 15_000);
    let now = at(world.now);
    for n in [A, B] {
        let seen: Vec<(Arc<str>, Presence)> = world
            .hub(n)
            .members(now)
            .into_iter()
            .map(|view| (view.name, view.state))
            .collect();
        assert_eq!(
            seen,
            [("p".into(), Presence::Present), ("q".into(), Presence::Detached)]
        );
    }
    let admitted = |world: &mut World, n: usize| {
        let hello = hello("q", instance(9), 1);
        world.hub(n).greet(&hello, now)
    };
    let replaces = Some(instance(2));
    assert_eq!(admitted(&mut world, A), Greeting::Join { replaces });
    assert_eq!(admitted(&mut world, B), Greeting::Join { replaces });
    let _ = Admission::Member;
}

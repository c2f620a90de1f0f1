use std::time::Duration;

use super::*;
use crate::stream::fixture::{Log, at, draining, hello, instance, level};
use crate::stream::message::{Busy, Refused, Warming};
use crate::stream::planes::Planes;
use crate::stream::roster::SessionId;

struct World {
    roster: Roster,
    sessions: Vec<(Slot, SessionId)>,
}

impl World {
    /// Proxies p0, p1 and so on, connected; they joined at revisions 1, 2 and so on.
    fn new(proxies: u128) -> World {
        let mut log = Log::new();
        (0..proxies).for_each(|n| {
            log.join(&format!("p{n}"), instance(n));
        });
        let mut roster = Roster::new(&log.state, &log.commits, Planes::default(), at(0));
        let attach = |n| roster.attach(&hello(&format!("p{n}"), instance(n), 1), at(0)).unwrap();
        let sessions = (0..proxies).map(attach).collect();
        World { roster, sessions }
    }

    fn say(&mut self, n: usize, level: Level, ms: u64) -> Progress {
        let (slot, session) = self.sessions[n];
        self.roster.heard(slot, session, Some(level), at(ms)).unwrap();
        Progress::Acknowledged(slot)
    }

    fn wait(&self, condition: Condition) -> Wait {
        let spec = WaitSpec {
            revision: Revision(10),
            condition,
            objects: vec![ObjectKey::service("web")],
        };
        Wait::begin(spec, Revision(10), &self.roster, at(0))
    }

    fn run_to(&mut self, ms: u64) {
        (0..=ms).step_by(250).for_each(|ms| self.roster.tick(at(ms)));
    }
}

fn drained(before: u64) -> Condition {
    Condition::Drained(vec![Target::Upstream {
        service: "web".into(),
        id: "a:1".into(),
        before: Revision(before),
    }])
}

#[test]
fn everyone_must_have_applied() {
    let mut world = World::new(2);
    let mut wait = world.wait(Condition::Applied);
    let progress = world.say(0, level(10), 1);
    assert_eq!(wait.handle(progress, &world.roster, at(1)), None);
    let progress = world.say(1, level(9), 2);
    assert_eq!(wait.handle(progress, &world.roster, at(2)), None);
    let lagging = wait.report(&world.roster, at(2)).lagging;
    assert_eq!(
        (lagging.len(), &*lagging[0].proxy, lagging[0].applied),
        (1, "p1", Revision(9))
    );
    let progress = world.say(1, level(12), 3);
    let report = wait.handle(progress, &world.roster, at(3)).unwrap();
    assert!(report.reached && report.lagging.is_empty());
    assert_eq!(
        (report.members, report.reached_count, report.took),
        (2, 2, Duration::from_millis(3))
    );
}

#[test]
fn an_empty_roster_is_reached_and_an_empty_room_is_not() {
    let world = World::new(0);
    assert!(
        world
            .wait(Condition::Applied)
            .handle(Progress::Tick, &world.roster, at(0))
            .unwrap()
            .reached
    );
    let mut world = World::new(2);
    let mut wait = world.wait(Condition::Applied);
    world.run_to(60_000);
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(60_000)), None);
    let report = wait.handle(Progress::Deadline, &world.roster, at(60_000)).unwrap();
    assert!(!report.reached);
    assert_eq!(report.detached.len(), 2);
}

#[test]
fn beyond_its_lease_one_is_named_and_not_waited_for() {
    let mut world = World::new(2);
    let mut wait = world.wait(Condition::Applied);
    let progress = world.say(0, level(10), 1);
    assert_eq!(wait.handle(progress, &world.roster, at(1)), None);
    world.run_to(11_999);
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(11_999)), None);
    let report = wait.handle(Progress::Tick, &world.roster, at(12_000)).unwrap();
    assert!(report.reached);
    assert_eq!((report.reached_count, report.detached), (1, vec!["p1".into()]));
}

#[test]
fn one_that_died_with_the_revision_is_named_too_and_alone_is_no_success() {
    let mut world = World::new(2);
    world.say(0, level(10), 1);
    world.run_to(20_000);
    // A repetition long after: the one has had it once, and nobody knows what it serves now.
    let mut again = world.wait(Condition::Applied);
    assert_eq!(again.handle(Progress::Tick, &world.roster, at(20_000)), None);
    let progress = world.say(1, level(10), 20_000);
    let report = again.handle(progress, &world.roster, at(20_000)).unwrap();
    assert_eq!(
        (report.reached, report.reached_count, report.detached),
        (true, 1, vec!["p0".into()])
    );
}

#[test]
fn drained_is_a_level_and_about_what_was_registered_before() {
    let mut world = World::new(1);
    let mut old = level(10);
    old.draining = vec![
        draining("web", "a:1", 4),
        draining("web", "a:1", 10),
        draining("web", "b:1", 4),
    ];
    world.say(0, old.clone(), 1);
    // It begins late, and sees what was said before.
    let mut wait = world.wait(drained(10));
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(1)), None);
    let report = wait.report(&world.roster, at(1));
    assert_eq!(report.draining.len(), 1);
    assert_eq!(
        (&*report.draining[0].upstream, report.draining[0].in_flight),
        ("web/a:1", 1)
    );
    old.draining.remove(0);
    let progress = world.say(0, old, 2);
    assert!(wait.handle(progress, &world.roster, at(2)).unwrap().reached);
}

#[test]
fn what_another_history_registered_is_older_than_any_write() {
    let mut world = World::new(1);
    let targets = [
        (
            "web",
            Condition::Drained(vec![Target::Service {
                service: "web".into(),
                before: Revision(10),
            }]),
        ),
        ("web", drained(10)),
        (
            "other",
            Condition::Drained(vec![Target::Address {
                address: "a:1".into(),
                before: Revision(10),
            }]),
        ),
    ];
    for (service, condition) in targets {
        let mut busy = level(10);
        busy.draining = vec![draining(service, "a:1", 0)];
        world.say(0, busy, 1);
        let mut wait = world.wait(condition);
        assert_eq!(wait.handle(Progress::Tick, &world.roster, at(1)), None);
        let progress = world.say(0, level(10), 2);
        assert!(wait.handle(progress, &world.roster, at(2)).unwrap().reached);
    }
}

#[test]
fn an_empty_list_before_the_revision_says_nothing() {
    let mut world = World::new(1);
    world.say(0, level(9), 1);
    let mut wait = world.wait(drained(10));
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(1)), None);
    let progress = world.say(0, level(10), 2);
    assert!(wait.handle(progress, &world.roster, at(2)).unwrap().reached);
}

#[test]
fn an_address_is_drained_whoever_has_it() {
    let mut world = World::new(1);
    let target = Target::Address {
        address: "a:1".into(),
        before: Revision(10),
    };
    let mut busy = level(10);
    busy.draining = vec![draining("other", "a:1", 9)];
    world.say(0, busy, 1);
    let mut wait = world.wait(Condition::Drained(vec![target]));
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(1)), None);
    let progress = world.say(0, level(10), 2);
    assert!(wait.handle(progress, &world.roster, at(2)).unwrap().reached);
}

#[test]
fn a_refusal_of_what_was_written_ends_the_wait() {
    let mut world = World::new(2);
    let mut wait = world.wait(Condition::Applied);
    let mut refusing = level(10);
    let detail = "regex".to_owned();
    refusing.refused = vec![Refused {
        object: "service/web".into(),
        revision: Revision(10),
        detail,
    }];
    let progress = world.say(0, refusing.clone(), 1);
    let report = wait.handle(progress, &world.roster, at(1)).unwrap();
    assert!(report.refused_now && !report.reached);
    assert_eq!(report.refused[0].detail, "regex");
    // Of another object it is nobody's business here.
    refusing.refused[0].object = "service/webs".into();
    world.say(0, refusing, 2);
    let mut wait = world.wait(Condition::Applied);
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(2)), None);
    let progress = world.say(1, level(10), 3);
    assert!(wait.handle(progress, &world.roster, at(3)).unwrap().reached);
}

#[test]
fn a_warming_upstream_is_waited_for() {
    let mut world = World::new(1);
    let warming = Warming {
        service: "web".into(),
        id: "a:1".into(),
        registration: Revision(10),
        last: "503".into(),
    };
    let cold = Level {
        warming: vec![warming],
        ..level(10)
    };
    world.say(0, cold, 1);
    let mut wait = world.wait(Condition::Healthy {
        service: "web".into(),
        id: "a:1".into(),
    });
    assert_eq!(wait.handle(Progress::Tick, &world.roster, at(1)), None);
    assert_eq!(wait.report(&world.roster, at(1)).warming[0].last, "503");
    let among_many = Level {
        warming_more: 1,
        ..level(10)
    };
    let progress = world.say(0, among_many, 2);
    assert_eq!(
        wait.handle(progress, &world.roster, at(2)),
        None,
        "it may be one of them"
    );
    assert_eq!(wait.report(&world.roster, at(1)).warming[0].upstream, "web/a:1");
    let progress = world.say(0, level(10), 2);
    assert!(wait.handle(progress, &world.roster, at(2)).unwrap().reached);
}

#[test]
fn a_move_is_over_once_the_new_is_well_and_the_old_is_drained() {
    let mut world = World::new(1);
    let moved = || Condition::HandedOver {
        service: "web".into(),
        id: "a:1".into(),
        before: Revision(10),
    };
    let idle = Draining {
        in_flight: 0,
        ..draining("web", "a:1", 4)
    };
    let cold = Warming {
        service: "web".into(),
        id: "a:1".into(),
        registration: Revision(10),
        last: "503".into(),
    };
    let with = |warming: &[&Warming], drains: &[&Draining]| Level {
        warming: warming.iter().copied().cloned().collect(),
        draining: drains.iter().copied().cloned().collect(),
        ..level(10)
    };
    let mut wait = world.wait(moved());
    let steps = [
        (with(&[&cold], &[&idle]), (1, 1)),
        (with(&[&cold], &[]), (1, 0)),
        (with(&[], &[&draining("web", "a:1", 4)]), (0, 1)),
    ];
    for (ms, (level, named)) in (1..).zip(steps) {
        let progress = world.say(0, level, ms);
        assert_eq!(wait.handle(progress, &world.roster, at(ms)), None);
        let report = wait.report(&world.roster, at(ms));
        assert_eq!((report.warming.len(), report.draining.len()), named);
    }
    let progress = world.say(0, with(&[], &[&draining("web", "a:1", 10)]), 4);
    assert!(wait.handle(progress, &world.roster, at(4)).unwrap().reached);

    // Who asks for the drain alone is told what it hangs on.
    world.say(0, with(&[&cold], &[&idle]), 5);
    let report = world.wait(drained(10)).report(&world.roster, at(5));
    assert_eq!(
        (report.reached, report.warming.len(), report.draining.len()),
        (false, 1, 1)
    );
    world.say(0, with(&[&cold], &[]), 6);
    assert!(world.wait(drained(10)).report(&world.roster, at(6)).reached);
}

#[test]
fn what_one_write_registers_and_retires_is_waited_for_together() {
    let mut world = World::new(1);
    let named = |id: &str| (Arc::from("web"), Arc::from(id));
    let settled = |drained: Vec<Target>| Condition::Settled {
        healthy: vec![named("a:1"), named("b:1")],
        drained,
    };
    let cold = |id: &str| Warming {
        service: "web".into(),
        id: id.into(),
        registration: Revision(10),
        last: "503".into(),
    };
    let with = |warming: Vec<Warming>, warming_more, drains: Vec<Draining>| Level {
        warming,
        warming_more,
        draining: drains,
        ..level(10)
    };
    let Condition::Drained(old) = drained(10) else { panic!() };
    let mut wait = world.wait(settled(old));
    let steps = [
        (
            with(vec![cold("b:1"), cold("c:1")], 0, vec![draining("web", "a:1", 4)]),
            (1, 1),
        ),
        (with(vec![cold("c:1")], 7, vec![]), (1, 0)),
        (with(vec![cold("c:1")], 0, vec![draining("web", "a:1", 4)]), (0, 1)),
    ];
    for (ms, (level, named)) in (1..).zip(steps) {
        let progress = world.say(0, level, ms);
        assert_eq!(wait.handle(progress, &world.roster, at(ms)), None, "step {ms}");
        let report = wait.report(&world.roster, at(ms));
        assert_eq!((report.warming.len(), report.draining.len()), named, "step {ms}");
    }
    let progress = world.say(0, with(vec![cold("c:1")], 0, vec![draining("web", "b:1", 4)]), 4);
    assert!(
        wait.handle(progress, &world.roster, at(4)).unwrap().reached,
        "others are not asked about"
    );

    // Whatever was registered before, of whichever service.
    let any = || Condition::Settled {
        healthy: Vec::new(),
        drained: vec![Target::Any { before: Revision(10) }],
    };
    world.say(0, with(vec![cold("c:1")], 7, vec![draining("other", "z:1", 9)]), 5);
    let report = world.wait(any()).report(&world.roster, at(5));
    assert_eq!((report.reached, report.draining.len()), (false, 1));
    world.say(0, with(Vec::new(), 0, vec![draining("other", "z:1", 10)]), 6);
    assert!(world.wait(any()).report(&world.roster, at(6)).reached);
}

#[test]
fn a_refusal_is_found_among_many_objects() {
    let mut world = World::new(1);
    let objects = ["zeta", "web", "api"].map(ObjectKey::service);
    let upstreams = ["b:1", "a:1"].map(|id| ObjectKey::upstream("web", id));
    for (object, is_ours) in [
        ("service/web", true),
        ("upstream/web/a:1", true),
        ("upstream/web/c:1", false),
        ("limit/web", false),
        ("of-tomorrow/web", false),
        ("service", false),
    ] {
        let refused = Refused {
            object: object.into(),
            revision: Revision(10),
            detail: String::new(),
        };
        let refusing = Level {
            refused: vec![refused],
            ..level(10)
        };
        world.say(0, refusing, 1);
        let spec = WaitSpec {
            revision: Revision(10),
            condition: Condition::Applied,
            objects: objects.iter().chain(&upstreams).cloned().collect(),
        };
        let wait = Wait::begin(spec, Revision(10), &world.roster, at(1));
        assert_eq!(wait.report(&world.roster, at(1)).refused_now, is_ours, "{object}");
    }
}

#[test]
fn a_hold_is_quiet_where_it_is_in_force_and_nothing_is_in_flight() {
    let quiet = || Condition::Quiet {
        service: "web".into(),
        since: Revision(10),
    };
    let held = |revision, busy: &[&str]| Held {
        service: "web".into(),
        revision: Revision(revision),
        busy: busy
            .iter()
            .map(|id| Busy {
                id: (*id).into(),
                in_flight: 2,
            })
            .collect(),
    };
    let with = |held: Held, drains: &[Draining]| Level {
        held: vec![held],
        draining: drains.to_vec(),
        ..level(10)
    };
    let waits = [
        (level(10), "it has ended, or not begun"),
        (with(held(9, &[]), &[]), "it is an earlier one"),
        (with(held(10, &["a:1"]), &[]), "one is busy"),
        (with(held(10, &[]), &[draining("web", "b:1", 11)]), "one drains"),
    ];
    let mut world = World::new(1);
    let mut wait = world.wait(quiet());
    for (ms, (level, why)) in (1..).zip(waits) {
        let progress = world.say(0, level, ms);
        assert_eq!(wait.handle(progress, &world.roster, at(ms)), None, "{why}");
    }
    let report = wait.report(&world.roster, at(4));
    assert_eq!(report.draining[0].upstream, "web/b:1");
    let progress = world.say(0, with(held(10, &["a:1"]), &[]), 5);
    assert_eq!(wait.handle(progress, &world.roster, at(5)), None);
    let report = wait.report(&world.roster, at(5));
    assert_eq!(
        (&*report.draining[0].upstream, report.draining[0].in_flight),
        ("web/a:1", 2)
    );
    let serves_on = Draining {
        in_flight: 0,
        ..draining("web", "a:1", 3)
    };
    let elsewhere = [draining("api", "a:1", 3), serves_on];
    for revision in [10, 12] {
        world.say(0, with(held(revision, &[]), &elsewhere), 6);
        let mut wait = world.wait(quiet());
        assert!(wait.handle(Progress::Tick, &world.roster, at(6)).unwrap().reached);
    }
}

#[test]
fn who_joins_later_is_not_waited_for_and_who_was_removed_is() {
    let mut log = Log::new();
    log.join("removed", instance(2));
    log.join("old", instance(1));
    let mut roster = Roster::new(&log.state, &log.commits, Planes::default(), at(0));
    roster.committed(&log.leave("removed", false), at(0));
    let written = log.service("web").revision;
    roster.committed(&log.join("late", instance(3)), at(0));
    let spec = WaitSpec {
        revision: written,
        condition: Condition::Applied,
        objects: Vec::new(),
    };
    let wait = Wait::begin(spec, written, &roster, at(0));
    let report = wait.report(&roster, at(0));
    let names: Vec<&str> = report.lagging.iter().map(|lagging| &*lagging.proxy).collect();
    assert_eq!(names, ["old", "removed"]);
}

#[test]
fn lists_end_at_a_hundred() {
    let world = World::new(130);
    let spec = WaitSpec {
        revision: Revision(130),
        condition: Condition::Applied,
        objects: Vec::new(),
    };
    let report = Wait::begin(spec, Revision(130), &world.roster, at(0)).report(&world.roster, at(0));
    assert_eq!((report.members, report.lagging.len(), report.more), (130, 100, 30));
    assert_eq!(serde_json::to_value(report.fleet()).unwrap()["more"], 30);
}

use shared::change::Revision;
use uuid::Uuid;

use super::*;

const TTL: Duration = Duration::from_secs(10);

fn at(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

fn plane(n: u128) -> PlaneId {
    PlaneId(Uuid::from_u128(n << 64 | n))
}

fn one(service: &str, id: &str, revision: u64) -> Registration {
    Registration::new(&service.into(), &id.into(), Revision(revision))
}

/// A control plane with `web/u0`, `web/u1`, … at revision 1, in virtual time.
struct World {
    timers: Timers,
    /// Other upstreams of the service.
    untimed: usize,
    now: u64,
}

impl World {
    fn new(upstreams: usize) -> World {
        let mut timers = Timers::new(plane(1), at(0));
        for n in 0..upstreams {
            timers.registered(one("web", &format!("u{n}"), 1), Some(TTL), at(0));
        }
        let (untimed, now) = (0, 0);
        World { timers, untimed, now }
    }

    /// Ticks up to `ms`, and what came of it. What is to expire is unregistered, and named with when that was decided.
    fn until(&mut self, ms: u64) -> Vec<String> {
        let mut all = Vec::new();
        while self.now < ms {
            self.now += 100;
            for output in self.tick() {
                all.push(match output {
                    Output::Expire(registration) => {
                        assert!(self.timers.end(&registration));
                        let Registration { service, id, .. } = &registration;
                        self.timers.unregistered(service, id, at(self.now));
                        format!("{service}/{id} at {}", self.now)
                    }
                    Output::Holding(lapsed) => format!("held {}: {} of {}", lapsed.service, lapsed.lapsed, lapsed.of),
                    Output::Resumed(service) => format!("resumed {service}"),
                });
            }
        }
        all
    }

    fn tick(&mut self) -> Vec<Output> {
        let size = self.timers.groups.get("web").map_or(0, |group| group.beats.len()) + self.untimed;
        self.timers.tick(at(self.now), &|_| size)
    }

    fn renew(&mut self, ids: impl IntoIterator<Item = usize>) {
        for n in ids {
            let heard = self.heard(&format!("u{n}"));
            assert_eq!(heard, Heard::Renewed, "u{n} at {}", self.now);
        }
    }

    fn heard(&mut self, id: &str) -> Heard {
        self.timers.renew(&one("web", id, 1), at(self.now), at(self.now))
    }
}

#[test]
fn who_is_silent_goes_and_who_renews_stays() {
    let mut world = World::new(3);
    assert_eq!(world.until(8_000), [""; 0]);
    world.renew([0, 1]);
    assert_eq!(
        world.until(10_200),
        [""; 0],
        "not before its time, and what comes with it"
    );
    assert_eq!(world.until(18_000), ["web/u2 at 10300"]);
    world.renew([0]);
    assert_eq!(world.until(30_000), ["web/u1 at 18300", "web/u0 at 28300"]);
    assert!(
        world.timers.groups.is_empty() && world.timers.timers.is_empty(),
        "nothing is left"
    );
}

#[test]
fn an_upstream_without_a_ttl_is_never_silent() {
    let mut world = World::new(1);
    world.timers.registered(one("web", "u0", 2), None, at(0));
    assert_eq!(world.until(100_000), [""; 0]);
    assert_eq!(world.heard("u0"), Heard::Refused);
}

#[test]
fn a_change_is_a_heartbeat_and_its_ttl_counts() {
    let mut world = World::new(1);
    world.until(5_000);
    world
        .timers
        .registered(one("web", "u0", 2), Some(Duration::from_secs(1)), at(5_000));
    assert_eq!(world.heard("u0"), Heard::Refused, "of what it was before");
    assert_eq!(world.until(20_000), ["web/u0 at 6300"]);
    world
        .timers
        .registered(one("web", "u0", 4), Some(Duration::from_secs(30)), at(20_000));
    world.timers.unregistered(&"web".into(), &"u0".into(), at(20_000));
    assert!(world.timers.timers.is_empty());
}

#[test]
fn a_renewal_before_the_decision_wins_and_one_after_it_registers_anew() {
    let mut world = World::new(1);
    world.until(10_200);
    world.now = 10_300;
    let u0 = one("web", "u0", 1);
    assert_eq!(world.tick(), [Output::Expire(u0.clone())]);
    world.renew([0]);
    assert!(!world.timers.end(&u0), "it was renewed while the others were asked");
    assert_eq!(world.until(20_500), [""; 0]);
    world.now = 20_600;
    assert_eq!(world.tick(), [Output::Expire(u0.clone())]);
    assert!(world.timers.end(&u0));
    assert_eq!(world.heard("u0"), Heard::Refused);
    // The store did not take it: it lives on, and is looked at again.
    world.timers.stands(&u0, at(20_600));
    assert_eq!(world.heard("u0"), Heard::Renewed);
    assert_eq!(world.until(40_000), ["web/u0 at 30900"]);
    world.timers.stands(&u0, at(40_000));
    assert_eq!(world.heard("u0"), Heard::Refused, "it is gone");
}

#[test]
fn of_three_that_stop_at_once_none_goes_and_of_one_that_one() {
    let mut world = World::new(3);
    assert_eq!(world.until(9_000), [""; 0]);
    world.renew([1, 2]);
    assert_eq!(world.until(12_000), ["web/u0 at 10300"]);

    let mut world = World::new(3);
    assert_eq!(world.until(60_000), ["held web: 3 of 3"]);
    assert_eq!(
        world.timers.lapsed(&|_| 3),
        [Lapsed {
            service: "web".into(),
            lapsed: 3,
            of: 3
        }]
    );
    world.renew([0, 1]);
    assert_eq!(world.until(62_000), ["resumed web"]);
    world.renew([0, 1]);
    assert_eq!(world.until(69_000), [""; 0]);
    world.renew([0, 1]);
    assert_eq!(world.until(71_900), ["web/u2 at 71300"], "the third had one more time");
}

#[test]
fn two_of_two_go() {
    let mut world = World::new(2);
    assert_eq!(world.until(20_000), ["web/u0 at 10300", "web/u1 at 10300"]);
}

#[test]
fn three_of_ten_go_and_four_do_not() {
    let mut world = World::new(10);
    world.until(9_000);
    world.renew(3..10);
    assert_eq!(world.until(11_000).len(), 3);
    // A fourth one within the time of the three.
    assert_eq!(world.until(18_000), [""; 0]);
    world.renew(4..10);
    assert_eq!(world.until(19_500), ["held web: 1 of 7"]);
    for ms in [28_000, 37_000, 46_000, 55_000] {
        world.renew(4..10);
        assert_eq!(world.until(ms), [""; 0], "a hold does not end by time");
    }
    world.renew(3..10);
    assert_eq!(world.until(57_000), ["resumed web"]);

    let mut world = World::new(10);
    world.until(9_000);
    world.renew(4..10);
    assert_eq!(world.until(11_000), ["held web: 4 of 10"]);
    let mut world = World::new(4);
    world.untimed = 10;
    assert_eq!(world.until(11_000).len(), 4, "others serve: that is no mass");
}

/// Each of `size` is renewed every `rhythm` ms, one after the other, until `stops(n)`. What came of it in a long time.
fn beating(size: usize, rhythm: u64, stops: impl Fn(u64) -> u64) -> (World, Vec<String>) {
    let mut world = World::new(size);
    let mut all = Vec::new();
    let upstreams = u64::try_from(size).unwrap();
    while world.now < 120_000 {
        for n in 0..upstreams {
            let phase = (n * rhythm / upstreams).next_multiple_of(100);
            if world.now < stops(n) && world.now >= phase && (world.now - phase).is_multiple_of(rhythm) {
                world.renew([usize::try_from(n).unwrap()]);
            }
        }
        all.extend(world.until(world.now + 100));
    }
    (world, all)
}

#[test]
fn silence_never_empties_a_service_of_three_or_more() {
    for size in 1..=10 {
        for (rhythm, spread) in [
            (500, 1),
            (500, 500),
            (2_000, 1),
            (2_000, 2_000),
            (3_300, 1),
            (3_300, 3_300),
            (5_000, 1),
        ] {
            for shift in (0..rhythm).step_by(300) {
                let (world, all) = beating(size, rhythm, |n| 30_000 + shift + n * 1_700 % spread);
                let case = format!("{size} every {rhythm} ms, stopped within {spread} from {shift}: {all:?}");
                if size < MASS {
                    assert_eq!(all.len(), size, "{case}");
                    assert!(world.timers.groups.is_empty(), "{case}");
                } else {
                    assert!(matches!(&all[..], [held] if held.starts_with("held web")), "{case}");
                    assert_eq!(world.timers.held(), size, "{case}");
                }
            }
        }
    }
}

/// From so many on too many can be silent.
const MASS: usize = 3;

#[test]
fn one_that_stops_alone_goes_in_its_time() {
    for size in 1..=10 {
        for rhythm in [500, 2_000, 3_300] {
            let (_, all) = beating(size, rhythm, |n| if n == 0 { 30_001 } else { u64::MAX });
            let last = 30_000 / rhythm * rhythm;
            assert_eq!(
                all,
                [format!("web/u0 at {}", last + 10_300)],
                "{size} every {rhythm} ms"
            );
        }
        // Those that are seldom heard keep it waiting, until they are.
        let (world, all) = beating(size, 8_000, |n| if n == 0 { 30_000 } else { u64::MAX });
        assert_eq!(all.len(), 1, "{size}: {all:?}");
        assert!(
            all[0].starts_with("web/u0 at 3") || all[0].starts_with("web/u0 at 4"),
            "{all:?}"
        );
        assert_eq!(world.timers.held(), 0);
    }
}

#[test]
fn a_hold_is_ended_by_who_is_heard_and_by_nothing_else() {
    let mut world = World::new(3);
    assert_eq!(world.until(20_000), ["held web: 3 of 3"]);
    // An operator takes one out.
    world.timers.unregistered(&"web".into(), &"u2".into(), at(20_000));
    assert_eq!(world.until(60_000), [""; 0]);
    // The process stood still.
    world.now = 90_000;
    assert_eq!(world.tick(), []);
    assert_eq!(world.until(150_000), [""; 0]);
    assert_eq!(world.timers.held(), 2);
    world.renew([0]);
    assert_eq!(world.until(152_000), ["resumed web"]);
    world.renew([0]);
    assert_eq!(world.until(160_000), [""; 0]);
    world.renew([0]);
    let all = world.until(165_000);
    assert!(all.len() == 1 && all[0].starts_with("web/u1"), "{all:?}");

    let mut world = World::new(3);
    assert_eq!(world.until(20_000), ["held web: 3 of 3"]);
    for id in ["u0", "u1", "u2"] {
        world.timers.unregistered(&"web".into(), &id.into(), at(20_000));
    }
    assert!(world.timers.groups.is_empty() && world.timers.holding.is_empty());
}

#[test]
fn who_comes_back_has_not_gone() {
    let mut world = World::new(10);
    for round in 1..20 {
        world.renew(1..10);
        world.until(round * 10_000 + 1_000);
        world.renew(1..10);
        world.timers.registered(one("web", "u0", 1), Some(TTL), at(world.now));
    }
    assert!(world.timers.holding.is_empty());
}

#[test]
fn after_a_pause_everybody_has_a_whole_time() {
    let mut world = World::new(3);
    world.until(9_900);
    world.now = 30_000;
    assert_eq!(world.tick(), []);
    world.renew([1, 2]);
    assert_eq!(world.until(39_900), [""; 0]);
    world.renew([1, 2]);
    assert_eq!(world.until(41_000), ["web/u0 at 40300"]);
    // Where nothing is decided time passes all the same.
    let mut world = World::new(1);
    for ms in (100..=15_000).step_by(100) {
        world.timers.rest(at(ms));
    }
    world.now = 15_000;
    assert_eq!(world.until(15_100), ["web/u0 at 15100"]);
}

/// A service that plane 1 owns beside `other`, and one that it does not.
fn owned_and_not(other: PlaneId) -> (String, String) {
    let names = || (0..).map(|n| format!("s{n}"));
    let owned = |name: &String| owner(plane(1), &[other], name) == plane(1);
    (names().find(owned).unwrap(), names().find(|name| !owned(name)).unwrap())
}

#[test]
fn each_decides_about_its_own_and_a_new_owner_gives_a_whole_time() {
    let (mine, theirs) = owned_and_not(plane(2));
    let mut timers = Timers::new(plane(1), at(0));
    timers.present(vec![plane(2)], at(0));
    for service in [&mine, &theirs] {
        timers.registered(one(service, "a", 1), Some(TTL), at(0));
    }
    let heard = |timers: &mut Timers, service: &str, ms| timers.renew(&one(service, "a", 1), at(ms), at(ms));
    assert_eq!(heard(&mut timers, &mine, 1_000), Heard::Renewed);
    assert_eq!(heard(&mut timers, &theirs, 1_000), Heard::Elsewhere(plane(2)));
    let mut expired = Vec::new();
    for ms in (100..=30_000).step_by(100) {
        if ms == 15_000 {
            timers.present(vec![], at(ms));
        }
        for output in timers.tick(at(ms), &|_| 1) {
            expired.push((ms, output));
        }
    }
    let expire = |service: &str| Output::Expire(one(service, "a", 1));
    assert_eq!(expired, [(11_300, expire(&mine)), (25_300, expire(&theirs))]);
}

#[test]
fn what_an_owner_cannot_be_told_is_remembered_and_stops_it() {
    let (_, theirs) = owned_and_not(plane(2));
    let mut timers = Timers::new(plane(1), at(0));
    timers.present(vec![plane(2)], at(0));
    let a = one(&theirs, "a", 1);
    timers.registered(a.clone(), Some(TTL), at(0));
    assert!(timers.remember(&a, at(5_000), at(5_300)));
    assert_eq!(timers.untold(10)[&plane(2)], [(a.clone(), at(5_000))]);
    assert_eq!(timers.promise(&a, at(14_900)), Some(at(5_000)), "it was heard of");
    timers.told(&a, at(4_000));
    assert_eq!(timers.untold(10).len(), 1, "that was an earlier one");
    timers.told(&a, at(5_000));
    assert!(timers.untold(10).is_empty());

    assert_eq!(timers.promise(&a, at(15_000)), None);
    assert_eq!(timers.renew(&a, at(16_000), at(16_000)), Heard::Refused, "as promised");
    assert!(!timers.remember(&a, at(16_000), at(16_000)));
    assert_eq!(timers.renew(&a, at(20_000), at(20_000)), Heard::Elsewhere(plane(2)));
    timers.registered(one(&theirs, "a", 2), Some(TTL), at(20_000));
    assert_eq!(timers.promise(&a, at(20_000)), None, "another one now");
    let next = one(&theirs, "a", 2);
    assert_eq!(timers.renew(&next, at(20_000), at(20_000)), Heard::Elsewhere(plane(2)));
}

#[test]
fn what_was_remembered_counts_where_it_came_when_the_owner_is_gone() {
    let (_, theirs) = owned_and_not(plane(2));
    let mut timers = Timers::new(plane(1), at(0));
    timers.present(vec![plane(2)], at(0));
    let a = one(&theirs, "a", 1);
    timers.registered(a.clone(), Some(TTL), at(0));
    timers.remember(&a, at(5_000), at(5_300));
    timers.present(vec![], at(6_000));
    assert!(timers.untold(10).is_empty());
    assert!(timers.remember(&a, at(7_000), at(7_000)));
    // One that both own for a moment is told of what the other heard.
    assert_eq!(timers.promise(&a, at(8_000)), Some(at(7_000)));
}

#[test]
fn twenty_thousand_are_looked_at_when_they_are_due() {
    let mut timers = Timers::new(plane(1), at(0));
    let all: Vec<Registration> = (0..20_000)
        .map(|n| one(&format!("s{}", n / 10), &format!("u{n}"), 1))
        .collect();
    for (n, registration) in (0_u64..).zip(&all) {
        timers.registered(registration.clone(), Some(TTL), at(n / 20));
    }
    for ms in (1_000..=60_000).step_by(100) {
        if ms % 5_000 == 0 {
            for registration in &all {
                assert_eq!(timers.renew(registration, at(ms), at(ms)), Heard::Renewed);
            }
        }
        assert_eq!(timers.tick(at(ms), &|_| 10), []);
        assert_eq!(
            timers.timers.len(),
            all.len(),
            "one place each, however often it is renewed"
        );
    }
}

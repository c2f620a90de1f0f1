//! A control plane that may not echo, and the choice of another one.

use super::*;

impl World {
    /// Beats every second, with an echo or without one, until it is left or the time is over.
    fn hear_beats(&mut self, seconds: u64, echoing: bool) -> bool {
        for _ in 0..seconds {
            self.run(1_000);
            if self.seen.contains(&"close") {
                return true;
            }
            let beat = Beat {
                head: self.log.state.configured,
                digest: self.log.state.digest,
                echo: echoing.then_some(at(self.now)),
            };
            self.lines(vec![Down::Beat(beat)]);
        }
        self.seen.contains(&"close")
    }
}

#[test]
fn one_that_does_not_echo_is_left_for_another_and_later_for_longer() {
    let mut world = World::live();
    assert!(!world.hear_beats(30, true));
    assert!(world.hear_beats(6, false), "there is another one");
    world.welcome();
    assert!(!world.hear_beats(30, true), "an echo makes good");
    for _ in 0..2 {
        world.seen.clear();
        assert!(world.hear_beats(6, false));
        world.unleased();
    }
    world.seen.clear();
    assert!(!world.hear_beats(8, false), "all were tried in vain");
    assert!(world.hear_beats(3, false));
}

#[test]
fn the_only_one_is_not_left() {
    let mut world = World::live();
    world.proxy.settings.urls = 1;
    assert!(!world.hear_beats(60, false));
}

#[test]
fn by_one_that_may_be_behind_no_listener_is_bound_in_a_hurry() {
    let stored = World::live().configuration();
    for echoing in [false, true] {
        let mut world = World::new(Some(stored.clone()));
        world.proxy.settings.urls = 1;
        world.unleased();
        world.hear_beats(4, false);
        assert_eq!(world.phase, Phase::Starting);
        assert!(!world.hear_beats(2, echoing));
        assert_eq!(world.phase, Phase::Serving { stale: !echoing });
    }
}

impl World {
    /// Welcomed by one that may not echo yet.
    fn unleased(&mut self) {
        self.dial();
        let welcome = Welcome {
            epoch: self.log.state.epoch,
            succeeds: Vec::new(),
            head: self.log.state.configured,
            current: false,
            leased: false,
        };
        self.lines(vec![Down::Welcome(welcome)]);
    }
}

#[test]
fn one_whose_name_another_has_does_not_open_from_its_disk() {
    let stored = World::live().configuration();
    let refused = |held| {
        let mut world = World::new(Some(stored.clone()));
        for _ in 0..20 {
            world.dial();
            world.give(Input::Disconnected(Disconnected::Refused {
                status: 409,
                detail: "no".to_owned(),
                held,
            }));
            world.run(1_000);
        }
        world.phase
    };
    assert_eq!(refused(true), Phase::Starting);
    // By a control plane of another store it is as good as alone.
    assert_eq!(refused(false), Phase::Serving { stale: true });
}

#[test]
fn where_the_lease_ends_it_sends_nothing_the_clock_decides() {
    let mut world = World::with(None, OnLeaseEnd::Stop, Disk::Good);
    assert_eq!(world.proxy.sends_until(), Some(Time::ZERO));
    world.welcome();
    world.snapshot();
    world.beat(Some(world.now));
    world.run(250);
    let end = at(world.now - 250) + Duration::from_secs(10);
    assert_eq!(world.proxy.sends_until(), Some(end));
    world.run(11_000);
    assert_eq!(world.proxy.sends_until(), Some(Time::ZERO));
    assert_eq!(World::live().proxy.sends_until(), None);
}

/// A change arrives with an echo, and is not in use yet: there is no lease before it is.
fn is_behind(world: &mut World, echo: u64) {
    let change = world.change("late");
    let beat = Beat {
        head: world.log.state.configured,
        digest: world.log.state.digest,
        echo: Some(at(echo)),
    };
    let outputs = world
        .proxy
        .handle(Input::Lines(vec![change, Down::Beat(beat)]), at(world.now));
    let (later, now): (Vec<Output>, Vec<Output>) = outputs
        .into_iter()
        .partition(|output| matches!(output, Output::Write(_)));
    world.carry_out(now);
    assert_eq!(world.phase, Phase::Serving { stale: true }, "others were promised more");
    world.carry_out(later);
    assert_eq!(world.phase, Phase::Serving { stale: false });
}

#[test]
fn a_lease_that_was_over_begins_anew_with_all_that_is_live_then() {
    let mut world = World::live();
    world.echo(3_000);
    // The machine stands still, and the connection outlives that.
    world.now += 15_000;
    world.beat(None);
    let now = world.now;
    is_behind(&mut world, now);
}

#[test]
fn an_end_that_nobody_saw_was_one() {
    let mut world = World::live();
    world.echo(3_000);
    assert!(!world.hear_beats(4, false));
    let last_said = world.now;
    // What was said last arrives late, and its echo is the first that is heard.
    world.now += 9_000;
    is_behind(&mut world, last_said);
}

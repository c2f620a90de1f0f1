//! What is there of a long period after a proxy was killed, and what its first life may have used of its standby.

use std::time::Duration;

use shared::quota::owner::Input;
use shared::quota::{ProxyId, Rule, Settings, Standby, WHOLE};

use super::{World, account, proxy, rule};

const THRESHOLD: u64 = 700;
const HOUR: Duration = Duration::from_secs(3_600);

/// Two proxies, with half of all each as their standbys.
fn world(period: Duration) -> World {
    let rule = Rule {
        threshold: THRESHOLD,
        period,
        ..rule()
    };
    let mut world = World::of(Settings::default(), None, rule);
    world.go_on(4, &[1, 2]);
    let (_, standby) = world.heard(proxy(2).instance);
    assert_eq!(standby.weight, WHOLE / 2);
    world
}

fn second() -> ProxyId {
    ProxyId { boot: 2, ..proxy(2) }
}

impl World {
    /// The second life of the other proxy, which has no standby yet, beats beside the one that was there all along.
    fn restart(&mut self) {
        let none = Standby {
            shard: account().shard(),
            epoch: 1,
            ..Standby::default()
        };
        for _ in 0..3 {
            self.beat_with(second(), none);
            self.go_on(1, &[1]);
        }
    }

    /// A proxy wants all that there is, a little at a time.
    fn want_all(&mut self, from: u128) -> u64 {
        let wants = (0..THRESHOLD).map(|_| self.want(from));
        wants.take_while(|granted| *granted > 0).sum()
    }
}

#[test]
fn a_first_life_that_ended_before_a_period_was_over_used_no_standby() {
    let mut world = world(HOUR);
    // It promised to use none for two seconds, and it would have waited a period after that.
    world.go_on(5, &[1]);
    world.restart();
    assert_eq!(world.want_all(1), THRESHOLD);
}

#[test]
fn all_but_the_standby_of_a_silent_proxy_is_there() {
    let mut world = world(HOUR);
    assert!(world.want(1) > 0);
    let before = world.granted();
    world.go_on(90, &[1]);
    let granted = before + world.want_all(1);
    assert!(
        granted <= THRESHOLD / 2,
        "VULCAN_SIM_ORDER=a want, silence, wants: {granted} of {THRESHOLD} granted"
    );
    assert_eq!(granted, THRESHOLD / 2);
}

#[test]
fn the_rules_of_standbys_hold_for_a_long_period_after_a_life_that_was_cut_off_for_one() {
    let period = HOUR / 20;
    let mut world = world(period);
    let validity = Rule { period, ..rule() }.validity();
    world.go_on((period + validity).as_secs() + 5, &[1]);
    world.restart();
    let granted = world.want_all(1);
    assert!(
        granted <= THRESHOLD / 2,
        "VULCAN_SIM_ORDER=silence for a period, a restart, wants: {granted} of {THRESHOLD} granted"
    );
    assert_eq!(granted, THRESHOLD / 2);
}

#[test]
fn a_second_life_ends_what_the_roster_lost_of_the_first() {
    let mut world = world(HOUR);
    world.go_on(5, &[1]);
    let [first, second] = [1, 2].map(|instance| proxy(instance).instance);
    world.hand(Input::Members([first].into()));
    world.go_on(90, &[1]);
    world.hand(Input::Members([first, second].into()));
    world.restart();
    assert_eq!(world.want_all(1), THRESHOLD);
}

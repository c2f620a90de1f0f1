//! Who may spend how much of a limit without its owner, while proxies join, restart and are forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::quota::owner::Input;
use shared::quota::{Claim, Handover, Label, ProxyId, Rule, Said, Standby, Told, WHOLE};
use uuid::Uuid;

use super::{TOKENS, WALL, World, account, proxy, rule, settings};

#[test]
fn the_rules_of_standbys_hold_when_their_proxies_are_forgotten() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    let (_, standby) = world.heard(proxy(2).instance);
    assert_eq!(standby.weight, WHOLE / 2);
    // It may use its standby until it is to be forgotten, and all of that counts for a period.
    world.go_on(15, &[1]);
    let granted = world.want(1);
    assert!(
        granted <= TOKENS / 2,
        "VULCAN_SIM_ORDER=silence, then a want: {granted} of {TOKENS} granted"
    );
    world.go_on(16, &[1]);
    let granted = world.want(1);
    assert!(
        granted == TOKENS,
        "VULCAN_SIM_ORDER=a period later: {granted} of {TOKENS} granted"
    );
}

/// It would use it at once, within a period of what was granted while it had none.
#[test]
fn the_rules_of_standbys_hold_for_a_proxy_that_has_promised_nothing() {
    let mut world = World::new(None);
    let none = Standby {
        shard: account().shard(),
        epoch: 1,
        ..Standby::default()
    };
    for is_promised in [false, true] {
        for _ in 0..4 {
            world.beat_promising(proxy(1), none, is_promised);
            world.go_on(1, &[]);
        }
        let (_, standby) = world.heard(proxy(1).instance);
        assert!(
            (standby.weight > 0) == is_promised,
            "VULCAN_SIM_ORDER=beats without a promise: {standby:?} is assigned"
        );
    }
}

/// Whether all that an owner says in the next seconds says that it can grant nothing, or none of it.
fn is_powerless(world: &mut World) -> bool {
    world.told.clear();
    world.go_on(3, &[1, 2]);
    let is_said = |told: &(Uuid, u64, Told)| told.2 == Told::Powerless;
    let numbers = |all: bool| {
        let told = world.told.iter().filter(move |told| all || is_said(told));
        told.map(|(to, number, _)| (*to, *number)).collect::<BTreeSet<_>>()
    };
    let (all, powerless) = (numbers(true), numbers(false));
    assert!(
        !all.is_empty() && (powerless.is_empty() || powerless == all),
        "{:?}",
        world.told
    );
    !powerless.is_empty()
}

#[test]
fn an_owner_says_that_its_claims_are_over() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    assert!(!is_powerless(&mut world));
    world.is_shut = true;
    world.go_on(settings().claim.as_secs(), &[1, 2]);
    assert!(is_powerless(&mut world));
    world.is_shut = false;
    world.go_on(1, &[1, 2]);
    assert!(!is_powerless(&mut world));
}

/// A predecessor that ends after a few seconds.
fn predecessor() -> Claim {
    let to = Label::from_nanos(WALL).after(Duration::from_secs(3));
    Claim {
        epoch: 1,
        owner: Uuid::from_u128(70),
        from: to.before(settings().claim),
        to,
        recorded: None,
    }
}

/// What a proxy that is heard anew says of itself, which began so long ago.
fn answer(began: Option<Duration>, weight: u64) -> Said {
    Said::Census {
        shard: account().shard(),
        epoch: 2,
        knows: None,
        began,
        earliest: None,
        oldest: None,
        uses: Vec::new(),
        weight,
        permits: Vec::new(),
        inherited: None,
    }
}

/// The second life of one.
fn second() -> ProxyId {
    ProxyId { boot: 2, ..proxy(2) }
}

impl World {
    fn go_on_with_the_second_life(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.go_on(1, &[1]);
            self.beat(second());
        }
    }
}

/// A successor that has heard the census of a proxy that was there all along and of another one's second life.
fn after_a_restart(handed: Option<Handover>) -> World {
    let mut world = World::new(Some(predecessor()));
    if let Some(handover) = handed {
        world.hand(Input::Handover(handover));
    }
    world.go_on(12, &[1]);
    world.say(1, answer(None, WHOLE / 2));
    world.say_as(second(), answer(Some(Duration::ZERO), 0));
    world
}

/// The control: that life found a mark.
#[test]
fn who_found_a_mark_vouches_for_lives_that_ended_before() {
    let mut world = World::new(Some(predecessor()));
    world.is_marked = true;
    world.go_on(12, &[1]);
    world.say(1, answer(None, WHOLE / 2));
    world.say_as(second(), answer(None, 0));
    world.go_on(1, &[1]);
    world.beat(second());
    assert_eq!(world.want(1), TOKENS);
}

#[test]
fn the_rules_of_standbys_hold_when_a_life_ended_that_nobody_heard() {
    let mut world = after_a_restart(None);
    // Its first life may have used half of all just before its end.
    world.go_on_with_the_second_life(8);
    let granted = world.want(1);
    assert!(
        granted <= TOKENS / 2,
        "VULCAN_SIM_ORDER=a proxy cut off, its owner followed, its restart: {granted} of {TOKENS} granted"
    );
    world.go_on_with_the_second_life(14);
    let granted = world.want(1);
    assert!(
        granted == TOKENS,
        "VULCAN_SIM_ORDER=a period later: {granted} of {TOKENS} granted"
    );
}

/// The control: a predecessor that knew of no use, and handed over, says so.
#[test]
fn who_hands_over_vouches_for_lives_that_ended_before() {
    let handover = Handover {
        shard: account().shard(),
        epoch: 1,
        charges: Vec::new(),
        revision: rule().revision,
        vouched: Some(Label::from_nanos(WALL).after(Duration::from_secs(13))),
    };
    let mut world = after_a_restart(Some(handover));
    world.go_on(1, &[1]);
    world.beat(second());
    assert_eq!(world.want(1), TOKENS);
}

/// One that was removed from the roster while it was away is back: it has its standby, and says nothing of it yet.
#[test]
fn the_rules_of_standbys_hold_when_one_that_was_removed_is_heard_again() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    world.hand(Input::Members([proxy(1).instance].into()));
    world.go_on(11, &[1]);
    let members = [1, 2].map(|instance| proxy(instance).instance);
    world.hand(Input::Members(members.into()));
    world.say(2, Said::Behind { label: Label::ZERO });
    // By what it was told last it would have been forgotten long ago.
    world.go_on(16, &[1]);
    let granted = world.want(1);
    assert!(
        granted <= TOKENS / 2,
        "VULCAN_SIM_ORDER=a proxy removed, back, silence: {granted} of {TOKENS} granted"
    );
    world.go_on(12, &[1]);
    assert_eq!(world.want(1), TOKENS);
}

/// What it had was given up, since it was away for so long: it is to be given as much again.
#[test]
fn who_gave_its_standby_up_gets_another() {
    for silence in [2, 23] {
        let mut world = World::new(None);
        world.go_on(4, &[1, 2]);
        let (_, standby) = world.heard(proxy(2).instance);
        world.go_on(silence, &[1]);
        let given_up = Standby { weight: 0, ..standby };
        world.beat_with(proxy(2), given_up);
        world.go_on(4, &[1]);
        let (_, again) = world.heard(proxy(2).instance);
        assert!(again.number > standby.number, "{again:?}");
    }
}

#[test]
fn a_second_life_gets_its_standby_at_once_if_the_first_used_none() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    world.told.clear();
    for _ in 0..2 {
        assert_eq!(world.heard(second().instance).1.weight, 0);
        // It has heard its owner only before the second one.
        world.beat(second());
        world.go_on(1, &[1]);
    }
    assert_eq!(world.heard(second().instance).1.weight, WHOLE / 2);
}

#[test]
fn the_rules_of_standbys_hold_while_those_before_a_newcomer_have_all() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    let members = [1, 2, 3].map(|instance| proxy(instance).instance);
    world.hand(Input::Members(members.into()));
    let held = [1, 2].map(|instance| world.heard(proxy(instance).instance).1);
    for _ in 0..4 {
        world.go_on(1, &[3]);
        // They have not heard that they are to have less.
        (1..)
            .zip(held)
            .for_each(|(from, standby)| world.beat_with(proxy(from), standby));
    }
    let (_, standby) = world.heard(proxy(3).instance);
    let before: u64 = held.iter().map(|standby| standby.weight).sum();
    assert!(
        before + standby.weight <= WHOLE,
        "VULCAN_SIM_ORDER=two who have {before} of {WHOLE}, a newcomer: it has {}",
        standby.weight
    );
    world.go_on(4, &[1, 2, 3]);
    assert_eq!(world.heard(proxy(3).instance).1.weight, WHOLE / 3);
}

#[test]
fn every_share_of_a_small_fleet_is_whole() {
    for members in 1..=40 {
        let rule = Rule {
            threshold: 3 * members,
            ..rule()
        };
        assert_eq!(rule.standby(WHOLE / members), 3, "{members} proxies");
    }
}

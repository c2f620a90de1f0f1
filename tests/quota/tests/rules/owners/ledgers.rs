//! What is granted of a long period is charged in the store, which others charge as well.

use std::time::Duration;

use shared::quota::owner::Input;
use shared::quota::{CellKey, OnUnreachable, Outcome, Rule};

use super::{TOKENS, World, account, rule};

fn world() -> (World, Rule) {
    let rule = Rule {
        // A chunk is half of it.
        threshold: 2 * TOKENS,
        period: Duration::from_secs(3_000),
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    let mut world = World::with(None, rule);
    world.go_on(4, &[1, 2]);
    (world, rule)
}

#[test]
fn the_rules_of_ledgers_hold_when_nobody_knows_what_the_store_did() {
    let (mut world, _) = world();
    world.is_away = true;
    world.want(1);
    let read = || Input::Cell {
        key: CellKey::Row(account()),
        outcome: Outcome::Is(None),
    };
    world.hand(read());
    let granted = world.granted();
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a swap of unknown outcome: {granted} granted"
    );
    // It was not done: it is done now.
    world.is_away = false;
    world.hand(read());
    assert_eq!(world.granted(), TOKENS);
}

#[test]
fn the_rules_of_ledgers_hold_for_what_went_back_to_the_store() {
    let (mut world, rule) = world();
    assert_eq!(world.want(1), TOKENS);
    world.give_back(0);
    let threshold = TOKENS / 2;
    world.told.clear();
    world.edit(Some(Rule { threshold, ..rule }));
    world.go_on(1, &[1, 2]);
    let granted = world.granted() + world.want(2);
    assert!(
        0 < granted && granted <= threshold,
        "VULCAN_SIM_ORDER=a grant, its return, a threshold of {threshold}: {granted} granted"
    );
}

/// Of a long period an owner knows only what it granted itself.
#[test]
fn the_rules_of_edits_hold_for_what_others_granted_of_a_limit_that_is_made_again() {
    let (mut world, _) = world();
    world.edit(None);
    world.go_on(1, &[1, 2]);
    world.edit(Some(rule()));
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a long period deleted, a short one made, a want: {granted} granted"
    );
    // What they granted last may be spent within a minute, and counts for a period.
    world.go_on(75, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
}

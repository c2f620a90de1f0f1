//! What was spent by one form of a limit counts by the next one.

use std::time::Duration;

use shared::quota::Rule;

use super::{TOKENS, World, rule};

/// All was spent; then the limit took these forms, the last of which has a period of at most ten seconds.
fn granted_after(forms: &[Option<Rule>]) -> (u64, u64) {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
    world.give_back(TOKENS);
    for form in forms {
        world.edit(*form);
        world.go_on(1, &[1, 2]);
    }
    let soon = world.want(2);
    world.go_on(12, &[1, 2]);
    (soon, world.want(2))
}

#[test]
fn the_rules_of_edits_hold_for_a_limit_with_another_period() {
    let shorter = Rule {
        period: Duration::from_secs(8),
        ..rule()
    };
    let (soon, later) = granted_after(&[Some(shorter)]);
    assert!(
        soon == 0,
        "VULCAN_SIM_ORDER=all spent, a shorter period, a want: {soon} granted"
    );
    assert_eq!(later, TOKENS);
}

#[test]
fn the_rules_of_edits_hold_for_a_limit_that_is_made_again() {
    let (soon, later) = granted_after(&[None, Some(rule())]);
    assert!(
        soon == 0,
        "VULCAN_SIM_ORDER=all spent, the limit deleted, made again, a want: {soon} granted"
    );
    assert_eq!(later, TOKENS);
}

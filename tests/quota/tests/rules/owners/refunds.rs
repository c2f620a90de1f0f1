//! What was reserved of an allowance that is over, and turns out not to have been used.

use std::time::Duration;

use shared::quota::{Algorithm, Rule, Said};

use super::{TOKENS, World, rule};

/// All was granted to a proxy, which reserved all of it, half at once and half later.
fn reserved(rule: Rule) -> World {
    let mut world = World::with(None, rule);
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
    while world.want(2) > 0 {}
    world.go_on(1, &[1, 2]);
    world.give_back_with(TOKENS, vec![(TOKENS / 2, Duration::from_millis(900))], true);
    world
}

fn refund(world: &mut World, id: u64, tokens: u64) {
    world.say(1, Said::Refund { id, tokens });
}

#[test]
fn the_rules_of_refunds_hold_when_they_are_said_again() {
    let long = 2 * TOKENS;
    for (algorithm, seconds, threshold) in [
        (Algorithm::Sliding, 10, TOKENS),
        (Algorithm::Fixed, 60, TOKENS),
        (Algorithm::Sliding, 300, long),
        (Algorithm::Fixed, 3_000, long),
    ] {
        let mut world = reserved(Rule {
            algorithm,
            period: Duration::from_secs(seconds),
            threshold,
            ..rule()
        });
        assert_eq!(world.want(2), 0);
        // Nobody was granted that.
        refund(&mut world, 7, TOKENS);
        for (tokens, more) in [(2, 2), (2, 0), (5, 3), (3, 0), (5, 0)] {
            world.told.clear();
            refund(&mut world, 1, tokens);
            world.go_on(1, &[1, 2]);
            let granted = world.granted() + world.want(2);
            assert!(
                granted == more,
                "VULCAN_SIM_ORDER=all reserved, {tokens} in all come back: {granted} granted, {algorithm:?}, {seconds} s"
            );
        }
    }
}

#[test]
fn the_rules_of_refunds_hold_for_what_was_used_later() {
    let mut world = reserved(rule());
    world.told.clear();
    refund(&mut world, 1, TOKENS / 2);
    assert_eq!(world.granted(), TOKENS / 2, "the other one waits for it");
    // A period after the first half was used, which may have been what came back.
    world.go_on(9, &[1, 2]);
    world.pass(Duration::from_millis(500));
    let granted = world.want(2);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=half used early, half late, half came back, a period: {granted} granted"
    );
    world.go_on(1, &[1, 2]);
    assert_eq!(world.granted(), TOKENS / 2);
}

#[test]
fn the_rules_of_refunds_hold_for_what_was_never_reserved() {
    let mut world = World::new(None);
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
    refund(&mut world, 1, 3);
    assert_eq!(world.want(2), 0, "VULCAN_SIM_ORDER=a refund before its return");
    world.give_back(TOKENS);
    refund(&mut world, 1, 3);
    assert_eq!(world.want(2), 0, "VULCAN_SIM_ORDER=a refund of what was settled");
}

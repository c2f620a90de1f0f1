//! What an owner makes of a life that vouches for those before it: they used no standby but what they told.

use std::time::Duration;

use shared::change::Revision;
use shared::quota::{OnUnreachable, ProxyId, Rule, Said, Standby, WHOLE};

use super::{TOKENS, World, account, proxy, rule, settings};

/// A later life of the second proxy, which has no standby yet.
fn life(boot: u64) -> ProxyId {
    ProxyId { boot, ..proxy(2) }
}

impl World {
    fn two_proxies() -> World {
        let mut world = World::new(None);
        world.go_on(4, &[1, 2]);
        world
    }

    fn none(&self) -> Standby {
        Standby {
            shard: account().shard(),
            epoch: 1,
            ..Standby::default()
        }
    }

    /// It beats for so long beside the one that was there all along.
    fn begin(&mut self, life: ProxyId, seconds: u64) {
        for _ in 0..seconds {
            self.beat_with(life, self.none());
            self.go_on(1, &[1]);
        }
    }
}

/// A life that is cut off for so long that it may have used its standby, and one that knows whether it did.
fn after_a_silence(is_marked: bool) -> u64 {
    let mut world = World::two_proxies();
    world.go_on(14, &[1]);
    world.is_marked = is_marked;
    world.begin(life(2), 3);
    world.want(1)
}

#[test]
fn what_a_life_vouches_for_is_there() {
    assert_eq!(after_a_silence(true), TOKENS);
    let granted = after_a_silence(false);
    assert!(granted <= TOKENS / 2, "{granted}");
}

#[test]
fn the_rules_of_marks_hold_for_what_was_told() {
    let mut world = World::two_proxies();
    let standby = world.heard(proxy(2).instance).1;
    assert_eq!(standby.weight, WHOLE / 2);
    world.say(
        2,
        Said::Beat {
            promised: true,
            idle: Some(Duration::ZERO),
            by: Revision(1),
            began: None,
            standby: vec![standby],
            heir: Vec::new(),
        },
    );
    world.is_marked = true;
    world.go_on(4, &[1]);
    world.begin(life(2), 3);
    let granted = world.want(1);
    assert!(
        granted <= TOKENS / 2,
        "VULCAN_SIM_ORDER=a use told, a life that vouches: {granted} of {TOKENS} granted"
    );
}

/// By an edit what a former life used counts for longer than any standby could, and a mark made since says nothing of it.
#[test]
fn the_rules_of_marks_hold_for_a_life_that_ended_long_ago() {
    let mut world = World::two_proxies();
    world.go_on(14, &[1]);
    world.edit(Some(Rule {
        period: settings().forget_after * 4,
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    }));
    world.begin(life(2), settings().forget_after.as_secs() + 1);
    world.is_marked = true;
    world.begin(life(3), 3);
    let granted = world.want(1);
    assert!(
        granted <= TOKENS / 2,
        "VULCAN_SIM_ORDER=a use nobody knows of, an edit, a life that vouches: {granted} of {TOKENS} granted"
    );
}

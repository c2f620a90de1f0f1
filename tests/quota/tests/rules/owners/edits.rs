//! What was spent by one form of a limit counts by the next one.

use std::time::Duration;

use shared::change::Revision;
use shared::quota::owner::{Input, Output};
use shared::quota::{Algorithm, Claim, Handover, Label, OnUnreachable, Rule, Told};
use uuid::Uuid;

use super::{TOKENS, WALL, World, account, reading, rule, settings};

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

/// A limit that owners count, and its next form, of so many seconds, which the store does.
fn grows_to(seconds: u64) -> (Rule, Rule) {
    let short = Rule {
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    let period = Duration::from_secs(seconds);
    (short, Rule { period, ..short })
}

/// An owner whose proxies have not said what they spent by its predecessor's grants; then the store is to count the limit.
#[test]
fn the_rules_of_edits_hold_while_nobody_knows_what_was_spent() {
    let (short, long) = grows_to(100);
    let to = Label::from_nanos(WALL).after(Duration::from_secs(3));
    let predecessor = Claim {
        epoch: 1,
        owner: Uuid::from_u128(70),
        from: to.before(settings().claim),
        to,
        recorded: None,
    };
    let granted = |found: Option<Claim>, seconds: u64| {
        let mut world = World::with(found, short);
        world.go_on(5, &[1, 2]);
        world.edit(Some(long));
        world.go_on(seconds, &[1, 2]);
        world.want(2)
    };
    assert!(granted(None, 1) > 0, "the first owner of all knows all");
    let soon = granted(Some(predecessor), 1);
    assert!(
        soon == 0,
        "VULCAN_SIM_ORDER=an owner followed, no census, a period that the store counts: {soon} granted"
    );
    assert!(granted(Some(predecessor), 105) > 0);
}

/// What its predecessor had granted by the form before, that one may have had no time to tell the store.
#[test]
fn the_rules_of_edits_hold_for_a_successor_of_one_that_was_killed() {
    let (short, long) = grows_to(1_000);
    let granted = |recorded: Option<Revision>| {
        let mut world = World::with(None, short);
        world.hand(Input::Shards(0));
        world.edit(Some(long));
        let to = world.owner.label().after(Duration::from_secs(3));
        world.found = Some(Claim {
            epoch: 8,
            owner: Uuid::from_u128(70),
            from: to.before(settings().claim),
            to,
            recorded,
        });
        world.hand(Input::Shards(1 << account().shard()));
        world.go_on(5, &[1, 2]);
        world.want(2)
    };
    assert!(granted(Some(Revision(2))) > 0, "it has had the time");
    assert!(granted(None) > 0, "it did not know of that");
    let soon = granted(Some(Revision(1)));
    assert!(
        soon == 0,
        "VULCAN_SIM_ORDER=a period that the store counts, its owner killed, a successor, no census: {soon} granted"
    );
}

#[test]
fn the_rules_of_edits_hold_for_what_an_owner_says_to_be_recorded() {
    let short = Rule {
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    let mut world = World::with(None, short);
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
    world.is_away = true;
    world.edit(Some(Rule {
        period: Duration::from_secs(1_000),
        ..short
    }));
    world.go_on(8, &[1, 2]);
    let recorded = |world: &World| world.claims.last().and_then(|claim| claim.recorded);
    let says = recorded(&world);
    assert!(
        says == Some(Revision(1)),
        "VULCAN_SIM_ORDER=a grant, a period that the store counts, no answer of it: {says:?} is said to be recorded"
    );
    world.is_away = false;
    assert_eq!(world.want(2), 0);
    world.go_on(8, &[1, 2]);
    assert_eq!(recorded(&world), Some(Revision(2)));
}

/// All was granted of a limit that is edited then. Who has not heard of that spends what it has until its end: how long after it
/// as much may be granted again.
fn granted_again_after(former: Rule, form: Rule) -> Duration {
    let mut world = World::with(None, former);
    world.go_on(4, &[1, 2]);
    let (mut granted, mut valid) = (0, Duration::ZERO);
    while granted < TOKENS {
        let given = world.want(1);
        assert!(given > 0);
        granted += given;
        let grants = world.told.iter().filter_map(|(.., told)| match told {
            Told::Grant { expires_in, .. } => Some(*expires_in),
            _ => None,
        });
        valid = grants.fold(valid, Duration::max);
    }
    let over = world.since + valid;
    world.edit(Some(form));
    while world.want(2) == 0 {
        world.go_on(1, &[1, 2]);
        assert!(world.since < over + 2 * form.period);
    }
    world.since - over
}

#[test]
fn the_rules_of_edits_hold_for_what_may_be_spent_after_the_store_counts_it() {
    let of = |seconds: u64| Rule {
        period: Duration::from_secs(seconds),
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    // The one was counted in memory, the other in the store by longer buckets.
    for former in [of(60), of(86_400)] {
        let form = of(120);
        let after = granted_again_after(former, form);
        assert!(
            after >= form.period,
            "VULCAN_SIM_ORDER=all granted of a period of {:?}, one of two minutes, wants: as much granted {after:?} after it may have been spent",
            former.period
        );
    }
}

/// The store counts it from now on, and does not know yet what was granted before.
#[test]
fn the_rules_of_hand_overs_hold_for_what_the_store_is_not_told_of() {
    let minute = Rule {
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    let hands_over = |period: Duration| {
        let mut world = World::with(None, minute);
        world.go_on(4, &[1, 2]);
        assert_eq!(world.want(1), TOKENS);
        world.edit(Some(Rule { period, ..minute }));
        let outputs = world.owner.handle(Input::Leave, reading(world.since));
        outputs.iter().any(|output| matches!(output, Output::Handover(_)))
    };
    assert!(hands_over(minute.period));
    assert!(
        !hands_over(Duration::from_secs(120)),
        "VULCAN_SIM_ORDER=all granted of a short period, one that the store counts, the end: handed over without it"
    );
}

/// A limit that is made again with a shorter period is counted by who did not see that it was deleted.
#[test]
fn the_rules_of_hand_overs_hold_for_a_limit_that_was_deleted() {
    let hands_over = |period: Duration, seconds: u64| {
        let mut world = World::with(None, Rule { period, ..rule() });
        world.go_on(4, &[1, 2]);
        assert!(world.want(1) > 0);
        world.edit(None);
        world.go_on(seconds, &[1, 2]);
        let outputs = world.owner.handle(Input::Leave, reading(world.since));
        outputs.iter().any(|output| matches!(output, Output::Handover(_)))
    };
    assert!(hands_over(rule().period, 1));
    let day = Duration::from_secs(86_400);
    assert!(
        !hands_over(day, 1),
        "VULCAN_SIM_ORDER=some granted of what the store counts, deleted, the end: handed over without it"
    );
    assert!(hands_over(day, 200), "nothing of it counts within a minute");
}

/// Of the limits by which the predecessor handed over that nothing is charged.
fn after_a_hand_over(revision: Revision) -> World {
    let mut world = World::successor(1);
    world.hand(Input::Handover(Handover {
        shard: account().shard(),
        epoch: 1,
        charges: Vec::new(),
        revision,
        vouched: None,
    }));
    world
}

/// What the store counted by the form that the predecessor knew is in no hand-over.
#[test]
fn the_rules_of_hand_overs_hold_for_limits_that_the_predecessor_knew_otherwise() {
    let granted = |revision: Revision| after_a_hand_over(revision).want(1);
    assert_eq!(granted(rule().revision), TOKENS);
    let granted = granted(Revision::ZERO);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=spent of a limit that the store counts, the end, a successor with a shorter period: {granted} granted"
    );
}

/// The predecessor had the store count it by an edit that the successor reads later.
#[test]
fn the_rules_of_hand_overs_hold_for_limits_that_the_successor_knows_otherwise() {
    let mut world = after_a_hand_over(Revision(2));
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=an edit, spent of what the store counts, the end, a successor that has not read it: {granted} granted"
    );
    world.edit(Some(Rule {
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    }));
    world.go_on(1, &[1, 2]);
    assert_eq!(world.want(1), 0, "it was edited as well");
    world.go_on(14, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
}

/// By its length alone an owner tells whether its store, or its windows, know of what was counted in a bucket.
#[test]
fn no_bucket_of_a_sliding_window_is_as_long_as_a_fixed_one() {
    for seconds in [1, 7, 30, 60] {
        let of = |algorithm: Algorithm, seconds: u64| Rule {
            algorithm,
            period: Duration::from_secs(seconds),
            ..rule()
        };
        let fixed = of(Algorithm::Fixed, seconds);
        assert_ne!(fixed.bucket(), of(Algorithm::Sliding, 120 * seconds).bucket());
    }
}

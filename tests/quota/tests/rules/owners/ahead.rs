//! What an owner grants before it may be spent.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::quota::owner::{Input, Output};
use shared::quota::{AccountId, OnUnreachable, Rule, Said, Told, Want};

use super::{World, account, proxy, reading, rule};

const THRESHOLD: u64 = 1_200;

fn world() -> World {
    let rule = Rule {
        threshold: THRESHOLD,
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    };
    let mut world = World::with(None, rule);
    world.go_on(1, &[1, 2]);
    world
}

impl World {
    /// The tokens that a proxy is granted, and in how long it may spend them.
    fn ask_for(&mut self, from: u128, queued: u64, rate: u64) -> Vec<(Duration, u64)> {
        self.told.clear();
        let want = Want {
            account: account(),
            queued,
            least: 1,
            rate: rate * 1_000,
        };
        self.say(from, Said::Want(want));
        let grants = self.told.iter().filter_map(|(.., told)| match told {
            Told::Grant {
                tokens, not_before_in, ..
            } => Some((*not_before_in, *tokens)),
            _ => None,
        });
        grants.collect()
    }

    /// All was granted 8 s ago. These ask for it, at such rates, and are granted nothing; 3 s later, which is longer than an
    /// allowance is valid, they are still there.
    fn stay(&mut self, wants: &[(u128, u64)]) {
        for (from, rate) in wants {
            assert_eq!(self.ask_for(*from, 0, *rate), []);
        }
        self.go_on(3, &[1, 2]);
    }

    /// What they are granted then of what comes free.
    fn ask_on(&mut self, wants: &[(u128, u64)]) -> Vec<Vec<(Duration, u64)>> {
        self.stay(wants);
        let granted = wants.iter().map(|(from, rate)| self.ask_for(*from, 0, *rate));
        granted.collect()
    }
}

fn sum(grants: &[(Duration, u64)]) -> u64 {
    grants.iter().map(|(_, tokens)| tokens).sum()
}

#[test]
fn the_rules_of_grants_ahead_hold_for_an_owner() {
    let mut world = world();
    let rule = rule();
    let all = world.ask_for(1, THRESHOLD, 100);
    assert_eq!(all, [(Duration::ZERO, THRESHOLD)]);
    // What was granted may be spent for its validity, and counts for a period and a bucket after that.
    let lasts = rule.validity() + rule.span() - rule.bucket() * 2;
    world.go_on(8, &[1, 2]);
    let ahead = world.ask_on(&[(1, 100)]).remove(0);
    let first = ahead.iter().map(|(after, _)| *after).min();
    assert!(
        first.is_some_and(|first| first + Duration::from_secs(11) >= lasts),
        "VULCAN_SIM_ORDER=all of it, 11 s, a want: some after {first:?}"
    );
    // Within the time that is looked ahead no more than it asks for.
    let most = 100 * rule.validity().as_millis() as u64 / 1_000;
    assert!(sum(&ahead) > most / 4 && sum(&ahead) <= most, "{ahead:?}");
}

#[test]
fn the_rules_of_grants_ahead_hold_where_some_may_be_spent_later_than_others() {
    let mut world = world();
    world.ask_for(1, THRESHOLD, 100);
    world.go_on(8, &[1, 2]);
    // All of it comes free at once. One proxy spends it slowly, the other has come to want all of it.
    world.stay(&[(1, 100), (2, 100)]);
    let slow = world.ask_for(1, 0, 100);
    let fast = world.ask_for(2, 0, 100_000);
    assert!(slow.last() > fast.last(), "{slow:?} and {fast:?}");
    let (slow, fast) = (sum(&slow), sum(&fast));
    assert!(
        slow + fast <= THRESHOLD && slow > 0 && fast > 0,
        "VULCAN_SIM_ORDER=all of it, 11 s, two wants: {slow} and {fast} of {THRESHOLD} granted for one period"
    );
}

/// What an owner that goes says to be charged, where so much was granted at once and ahead.
fn handed_over(between: impl FnOnce(&mut World)) -> (u64, u64, u64) {
    let mut world = world();
    let all = sum(&world.ask_for(1, THRESHOLD, 100));
    world.go_on(8, &[1, 2]);
    let ahead = sum(&world.ask_on(&[(1, 100)])[0]);
    between(&mut world);
    let outputs = world.owner.handle(Input::Leave, reading(world.since));
    let handed = outputs.iter().filter_map(|output| match output {
        Output::Handover(handover) => Some(handover.charges.iter().map(|charge| charge.tokens).sum::<u64>()),
        _ => None,
    });
    (all, ahead, handed.sum())
}

#[test]
fn the_rules_of_hand_overs_hold_for_what_was_granted_ahead() {
    let (all, ahead, handed) = handed_over(|_| {});
    assert!(
        handed == all + ahead && ahead > 0,
        "VULCAN_SIM_ORDER=all of it, 11 s, a want, the end: {handed} of {all} and {ahead} handed over"
    );
}

#[test]
fn the_rules_of_grants_ahead_hold_for_a_proxy_that_the_roster_lost_and_not_for_one_that_is_over() {
    let (all, ahead, handed) = handed_over(|world| world.hand(Input::Members([proxy(2).instance].into())));
    assert!(
        handed == all + ahead,
        "VULCAN_SIM_ORDER=all of it, 11 s, a want, lost: {handed} of {all} and {ahead} are charged"
    );
    let (all, _, handed) = handed_over(|world| world.hand(Input::Goodbye(proxy(1).instance)));
    assert_eq!(handed, all);
}

#[test]
fn what_comes_free_is_shared_by_what_is_asked_for() {
    let mut world = world();
    world.ask_for(1, THRESHOLD, 100);
    world.go_on(8, &[1, 2]);
    let granted = world.ask_on(&[(1, 4_000), (2, 2_000)]);
    let granted: Vec<u64> = granted.iter().map(|grants| sum(grants)).collect();
    assert_eq!(granted, [THRESHOLD * 2 / 3, THRESHOLD / 3]);
}

/// Its load may go on to the next one as soon, and what it holds then is of no use.
#[test]
fn whose_load_has_just_come_is_granted_little_ahead() {
    let mut world = world();
    world.ask_for(1, THRESHOLD, 100);
    world.go_on(11, &[1, 2]);
    assert_eq!(world.ask_for(1, 0, 100), []);
}

/// Its load may have come from them.
#[test]
fn who_asks_anew_has_others_share_what_they_were_granted_ahead() {
    let mut world = world();
    world.ask_for(1, THRESHOLD, 100);
    world.go_on(8, &[1, 2]);
    assert!(sum(&world.ask_on(&[(1, 4_000)])[0]) > 0);
    world.ask_for(2, 0, 4_000);
    let (to, .., told) = world.told.first().unwrap();
    assert_eq!(*to, proxy(1).instance);
    assert!(
        matches!(
            told,
            Told::Exhausted {
                retry_in: Duration::ZERO,
                ..
            }
        ),
        "{told:?}"
    );
    world.ask_for(2, 0, 4_000);
    let again = world.told.iter().filter(|(to, ..)| *to == proxy(1).instance);
    assert_eq!(again.count(), 0, "nobody new is there");
}

/// A line of a stream has an end.
#[test]
fn what_is_granted_at_once_goes_in_messages_that_are_not_too_long() {
    const ACCOUNTS: usize = 5_000;
    let mut world = world();
    let shard = account().shard();
    let tokens = (0_u64..).map(|token| AccountId::of(rule().limit, &token.to_le_bytes()));
    let accounts = tokens.filter(|account| account.shard() == shard).take(ACCOUNTS);
    let wants = accounts.map(|account| {
        Said::Want(Want {
            account,
            queued: 1,
            least: 1,
            rate: 0,
        })
    });
    world.told.clear();
    world.say_all(proxy(1), wants.collect());
    let mut sizes = BTreeMap::new();
    for (_, number, _) in &world.told {
        *sizes.entry(*number).or_insert(0) += 1;
    }
    let sizes: Vec<usize> = sizes.into_values().collect();
    assert_eq!(sizes, [4_096, ACCOUNTS - 4_096]);
}

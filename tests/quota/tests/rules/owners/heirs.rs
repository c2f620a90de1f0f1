//! What the second life of a proxy is told of its first, and what a successor of its owner makes of that.

use std::time::Duration;

use shared::change::Revision;
use shared::quota::{
    Claim, Departure, Estate, Inherited, Label, OnUnreachable, ProxyId, Rule, Said, Testament, Told, Use, Want,
};
use uuid::Uuid;

use super::{TOKENS, WALL, World, account, proxy, rule, settings};

const SECOND: Duration = Duration::from_secs(1);

fn closed() -> Rule {
    Rule {
        on_unreachable: OnUnreachable::Closed,
        ..rule()
    }
}

fn second() -> ProxyId {
    ProxyId { boot: 2, ..proxy(2) }
}

/// What a predecessor of that epoch said a moment ago by its own time: so many tokens were charged, until so long after that.
fn testament(epoch: u64, tokens: u64, ahead: Duration) -> Testament {
    let bucket = closed().bucket().as_nanos() as u64;
    let at = Label::from_nanos(WALL - WALL % bucket);
    let last = at.after(ahead).as_nanos() / bucket - 1;
    Testament {
        shard: account().shard(),
        epoch,
        at,
        since: Label::ZERO,
        revision: closed().revision,
        estates: vec![Estate {
            account: account(),
            bucket,
            charges: vec![(last, tokens)],
        }],
    }
}

fn inherited(testament: Testament, age: Duration) -> Inherited {
    let age = (age, age);
    Inherited { testament, age }
}

fn used(tokens: u64, age: Duration) -> Use {
    let bucket = closed().bucket().as_nanos() as u64;
    Use {
        account: account(),
        tokens,
        age,
        bucket: ((WALL - age.as_nanos() as u64) / bucket + 11, bucket),
    }
}

impl World {
    /// It asks, and is told.
    fn ask(&mut self) -> Option<Testament> {
        self.told.clear();
        let said = Said::Beat {
            promised: true,
            idle: None,
            by: Revision::ZERO,
            began: Some(Duration::ZERO),
            standby: Vec::new(),
            heir: vec![account().shard()],
        };
        self.say_as(second(), said);
        self.told.iter().find_map(|(.., told)| match told {
            Told::Testament(testament) => Some(testament.clone()),
            _ => None,
        })
    }

    /// The owner of the epoch after that.
    pub(super) fn successor(epoch: u64) -> World {
        let to = Label::from_nanos(WALL).after(3 * SECOND);
        let found = Claim {
            epoch,
            owner: Uuid::from_u128(70),
            from: to.before(settings().claim),
            to,
            recorded: None,
        };
        World::with(Some(found), closed())
    }

    fn count(&mut self, from: ProxyId, uses: Vec<Use>, inherited: Option<Inherited>) {
        let began = (from.boot > 1).then_some(Duration::ZERO);
        let said = Said::Census {
            shard: account().shard(),
            epoch: self.claims[0].epoch,
            knows: began,
            began,
            earliest: Some(self.owner.label()),
            oldest: None,
            uses,
            weight: 0,
            permits: Vec::new(),
            inherited,
        };
        self.say_as(from, said);
    }

    /// Both proxies have answered a successor; the second life of the one by what it was told so long ago.
    fn followed(epoch: u64, uses: Vec<Use>, testament: Testament, age: Duration) -> World {
        let mut world = World::successor(epoch);
        world.count(proxy(1), uses, None);
        world.count(second(), Vec::new(), Some(inherited(testament, age)));
        world
    }
}

fn charged(testament: &Testament) -> u64 {
    let charges = testament.estates.iter().flat_map(|estate| &estate.charges);
    charges.map(|(_, tokens)| tokens).sum()
}

#[test]
fn the_rules_of_heirs_hold_for_what_was_granted_and_not_returned() {
    let mut world = World::with(None, closed());
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(2), TOKENS);
    let told = world.ask().unwrap();
    assert!(
        charged(&told) == TOKENS && told.since == Label::ZERO,
        "VULCAN_SIM_ORDER=a grant, the restart of its proxy: told {told:?}"
    );
}

#[test]
fn the_rules_of_heirs_hold_while_others_have_not_said_what_they_spent() {
    let mut world = World::successor(1);
    world.count(second(), Vec::new(), None);
    let told = world.ask();
    assert!(
        told.is_none(),
        "VULCAN_SIM_ORDER=half a census, a question: told {told:?}"
    );
    world.count(proxy(1), Vec::new(), None);
    world.go_on(1, &[1]);
    let told = world.ask().unwrap();
    let blind = Label::from_nanos(WALL);
    assert!(
        told.since >= blind && told.since < told.at,
        "VULCAN_SIM_ORDER=a census of a second life, a question: told {told:?}"
    );
}

/// The control: nothing was charged.
#[test]
fn a_successor_grants_at_once_what_no_life_before_took() {
    let mut world = World::followed(1, Vec::new(), testament(1, 0, Duration::ZERO), SECOND);
    assert_eq!(world.want(1), TOKENS);
}

#[test]
fn the_rules_of_heirs_hold_for_as_long_as_it_counts() {
    let mut world = World::followed(1, Vec::new(), testament(1, TOKENS, SECOND), SECOND / 10);
    assert_eq!(world.want(1), 0);
    world.go_on(10, &[1]);
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a testament of what may be spent in a second, a period: {granted} granted"
    );
    world.go_on(2, &[1]);
    assert_eq!(world.granted(), TOKENS);
}

#[test]
fn the_rules_of_heirs_hold_for_what_a_blind_owner_told() {
    let mut told = testament(1, 0, Duration::ZERO);
    told.since = told.at.before(SECOND);
    let mut world = World::followed(1, Vec::new(), told, SECOND);
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a testament of one who knew of a second: {granted} granted"
    );
}

#[test]
fn the_rules_of_heirs_hold_for_what_others_spent_since() {
    let told = testament(1, TOKENS / 2, Duration::ZERO);
    let mut world = World::followed(1, vec![used(TOKENS / 2, SECOND)], told, 2 * SECOND);
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a testament, then another proxy spends: {granted} granted"
    );
}

#[test]
fn what_others_spent_before_is_charged_once() {
    let told = testament(1, TOKENS / 2, Duration::ZERO);
    let mut world = World::followed(1, vec![used(TOKENS / 2, 3 * SECOND)], told, 2 * SECOND);
    assert_eq!(world.want(1), TOKENS / 2);
}

#[test]
fn the_rules_of_heirs_hold_for_what_is_in_no_testament() {
    let mut told = testament(1, TOKENS / 2, Duration::ZERO);
    told.estates[0].account.limit = Uuid::from_u128(10);
    let mut world = World::followed(1, vec![used(TOKENS, 3 * SECOND)], told, 2 * SECOND);
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a testament without an account of which another proxy spent: {granted} granted"
    );
}

#[test]
fn the_rules_of_heirs_hold_when_there_was_another_owner_since() {
    let told = testament(1, TOKENS / 2, Duration::ZERO);
    let mut world = World::followed(2, vec![used(TOKENS / 2, 3 * SECOND)], told, 2 * SECOND);
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a testament, another owner grants, a third one follows: {granted} granted"
    );
}

#[test]
fn the_rules_of_heirs_hold_by_the_last_testament() {
    for reversed in [false, true] {
        let mut world = World::successor(1);
        let first = testament(1, 0, Duration::ZERO);
        let mut last = testament(1, TOKENS, SECOND);
        last.at = last.at.after(SECOND / 2);
        let other = ProxyId { boot: 2, ..proxy(1) };
        let first = (other, inherited(first, SECOND));
        let last = (second(), inherited(last, SECOND / 2));
        let mut answers = [first, last];
        if reversed {
            answers.reverse();
        }
        for (from, inherited) in answers {
            world.count(from, Vec::new(), Some(inherited));
        }
        let want = Want {
            account: account(),
            queued: TOKENS,
            least: 1,
            rate: 1_000,
        };
        world.say_as(other, Said::Want(want));
        let granted = world.granted();
        assert!(
            granted == 0,
            "VULCAN_SIM_ORDER=two second lives, told in turn: {granted} granted"
        );
    }
}

/// The store is to count what was counted here, and has not been told of it.
#[test]
fn the_rules_of_heirs_hold_for_what_the_store_does_not_know_of() {
    let mut world = World::with(None, closed());
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(2), TOKENS);
    world.is_away = true;
    world.edit(Some(Rule {
        period: 100 * SECOND,
        ..closed()
    }));
    world.go_on(2, &[1]);
    let told = world.ask();
    assert!(
        told.is_none(),
        "VULCAN_SIM_ORDER=a grant, a period that the store counts, no answer of it, its proxy's restart: told {told:?}"
    );
    world.is_away = false;
    assert_eq!(world.want(1), 0);
    assert!(world.ask().is_some());
}

/// By a form of the limit that the store counted, its first life spent what no testament tells of.
#[test]
fn the_rules_of_heirs_hold_for_limits_that_were_edited_since() {
    let granted = |revision: Revision| {
        let told = Testament {
            revision,
            estates: Vec::new(),
            ..testament(1, 0, Duration::ZERO)
        };
        World::followed(1, Vec::new(), told, SECOND).want(1)
    };
    assert_eq!(granted(closed().revision), TOKENS);
    let granted = granted(Revision::ZERO);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=spent of a limit that the store counts, its proxy's restart, a shorter period, a successor: {granted} granted"
    );
}

/// Who left said when by the wall clock, which has fallen back since the owner's label time began by it.
#[test]
fn the_rules_of_departures_hold_for_an_owner_ahead_of_the_wall_clock() {
    let ahead = 5 * SECOND;
    let begins = Label::from_nanos(WALL).after(ahead);
    let to = begins.after(3 * SECOND);
    let found = Claim {
        epoch: 1,
        owner: Uuid::from_u128(70),
        from: to.before(settings().claim),
        to,
        recorded: None,
    };
    let rule = Rule {
        period: 4 * SECOND,
        ..closed()
    };
    let left = Departure {
        instance: proxy(3).instance,
        at: Label::from_nanos(WALL).before(SECOND),
        goodbye: true,
    };
    let mut world = World::after(begins, vec![left], settings(), Some(found), rule);
    for instance in [1, 2] {
        world.count(proxy(instance), Vec::new(), None);
    }
    let granted = world.want(1);
    assert!(
        granted == 0,
        "VULCAN_SIM_ORDER=a goodbye, 1 s, a successor whose time is ahead: {granted} granted"
    );
    world.go_on(4, &[1, 2]);
    assert_eq!(world.want(1), TOKENS);
}

//! What an owner goes by long after it was told, or for a moment only: chance hardly brings these about.

mod ahead;
mod clocks;
mod edits;
mod heirs;
mod ledgers;
mod marks;
mod refunds;
mod restarts;
mod standbys;

use std::time::Duration;

use shared::change::Revision;
use shared::quota::owner::{Input, Output, Roster};
use shared::quota::{
    AccountId, Algorithm, CellKey, CellValue, Claim, Departure, Label, OnUnreachable, Outcome, Owner, ProxyId, Reading,
    Rule, Rules, Said, Settings, Standby, Told, Up, Want,
};
use shared::time::Time;
use uuid::Uuid;

const OWNER: Uuid = Uuid::from_u128(7);
const TOKENS: u64 = 8;
const WALL: u64 = 1_700_000_000_000_000_000;

fn rule() -> Rule {
    Rule {
        limit: Uuid::from_u128(9),
        revision: Revision(1),
        algorithm: Algorithm::Sliding,
        period: Duration::from_secs(10),
        threshold: TOKENS,
        on_unreachable: OnUnreachable::Share,
    }
}

fn account() -> AccountId {
    AccountId::of(rule().limit, b"token")
}

fn proxy(instance: u128) -> ProxyId {
    ProxyId {
        instance: Uuid::from_u128(instance),
        boot: 1,
    }
}

fn settings() -> Settings {
    Settings {
        forget_after: Duration::from_secs(12),
        ..Settings::default()
    }
}

/// An owner whose store does what it is asked for, and says so unless it is away.
struct World {
    owner: Owner,
    since: Duration,
    /// Found in the store by who claims.
    found: Option<Claim>,
    claims: Vec<Claim>,
    left: Vec<Departure>,
    row: Option<CellValue>,
    is_away: bool,
    /// Nor does it take claims.
    is_shut: bool,
    told: Vec<(Uuid, u64, Told)>,
    number: u64,
    /// Of the limits that everyone goes by.
    revision: Revision,
    /// Later lives found a mark: those before used no standby.
    is_marked: bool,
}

impl World {
    fn new(found: Option<Claim>) -> World {
        World::with(found, rule())
    }

    fn with(found: Option<Claim>, rule: Rule) -> World {
        World::of(settings(), found, rule)
    }

    fn of(settings: Settings, found: Option<Claim>, rule: Rule) -> World {
        World::after(Label::ZERO, Vec::new(), settings, found, rule)
    }

    /// Its label time begins there, if the wall clock is not so far. `left`: who left the roster, as its log says.
    fn after(floor: Label, left: Vec<Departure>, settings: Settings, found: Option<Claim>, rule: Rule) -> World {
        let reading = reading(Duration::ZERO);
        let mut world = World {
            owner: Owner::new(OWNER, settings, reading, (floor, reading.mono)),
            left,
            since: Duration::ZERO,
            found,
            claims: Vec::new(),
            row: None,
            is_away: false,
            is_shut: false,
            told: Vec::new(),
            number: 0,
            revision: Revision::ZERO,
            is_marked: false,
        };
        world.edit(Some(rule));
        let members = [1, 2].map(|instance| proxy(instance).instance);
        world.hand(Input::Members(members.into()));
        world.hand(Input::Shards(1 << account().shard()));
        world.hand(Input::Tick);
        world
    }

    fn edit(&mut self, rule: Option<Rule>) {
        self.revision = Revision(self.revision.0 + 1);
        let revision = self.revision;
        self.hand(Input::Rules(Rules {
            observed: Default::default(),
            concurrent: Default::default(),
            revision,
            rules: rule
                .map(|rule| (rule.limit, Rule { revision, ..rule }))
                .into_iter()
                .collect(),
        }));
    }

    fn hand(&mut self, input: Input) {
        for output in self.owner.handle(input, reading(self.since)) {
            match output {
                Output::Get(CellKey::Row(_)) if self.is_away => {}
                Output::Get(key) => {
                    let outcome = Outcome::Is(match key {
                        CellKey::Claim(_) => self.found.map(CellValue::Claim),
                        CellKey::Row(_) => self.row.clone(),
                    });
                    self.hand(Input::Cell { key, outcome });
                }
                Output::Swap { key, new, .. } => {
                    let outcome = self.swap(&key, new);
                    self.hand(Input::Cell { key, outcome });
                }
                Output::ReadRoster(shard) => {
                    let members = [1, 2].map(|instance| proxy(instance).instance).into();
                    let left = self.left.clone();
                    let roster = Roster { members, left };
                    self.hand(Input::Roster { shard, roster });
                }
                Output::Send(down) => {
                    let told = down.items.into_iter();
                    self.told.extend(told.map(|told| (down.to.instance, down.number, told)));
                }
                _ => {}
            }
        }
    }

    fn swap(&mut self, key: &CellKey, new: CellValue) -> Outcome {
        match (key, new) {
            (CellKey::Row(_), _) if self.is_away => return Outcome::Unknown,
            (CellKey::Row(_), row) => self.row = Some(row),
            (CellKey::Claim(_), _) if self.is_shut => return Outcome::Unavailable,
            (CellKey::Claim(_), CellValue::Claim(claim)) => self.claims.push(claim),
            (CellKey::Claim(_), CellValue::Row(_)) => panic!("a row in place of a claim"),
        }
        Outcome::Swapped
    }

    /// The newest message to a proxy, and the standby that it was given last.
    fn heard(&self, instance: Uuid) -> (u64, Standby) {
        let of = || self.told.iter().filter(move |(to, ..)| *to == instance);
        let heard = of().map(|(_, number, _)| *number).max().unwrap_or(0);
        let mut standbys = of().filter_map(|(.., told)| match told {
            Told::Standby(standby) => Some(*standby),
            _ => None,
        });
        let none = Standby {
            shard: account().shard(),
            epoch: 1,
            ..Standby::default()
        };
        (heard, standbys.next_back().unwrap_or(none))
    }

    fn say(&mut self, from: u128, said: Said) {
        self.say_as(proxy(from), said);
    }

    fn say_as(&mut self, from: ProxyId, said: Said) {
        self.say_all(from, vec![said]);
    }

    fn say_all(&mut self, from: ProxyId, items: Vec<Said>) {
        self.number += 1;
        self.hand(Input::Message(Up {
            from,
            to: OWNER,
            number: self.number,
            heard: self.heard(from.instance).0,
            revision: self.revision,
            items,
        }));
    }

    fn beat(&mut self, from: ProxyId) {
        let (_, standby) = self.heard(from.instance);
        self.beat_with(from, standby);
    }

    fn beat_with(&mut self, from: ProxyId, standby: Standby) {
        self.beat_promising(from, standby, true);
    }

    fn beat_promising(&mut self, from: ProxyId, standby: Standby, promised: bool) {
        let said = Said::Beat {
            promised,
            idle: None,
            by: Revision::ZERO,
            began: (from.boot > 1 && !self.is_marked).then_some(Duration::ZERO),
            standby: vec![standby],
            heir: Vec::new(),
        };
        self.say_as(from, said);
    }

    /// Ticks for so long, while these beat.
    fn go_on(&mut self, seconds: u64, beating: &[u128]) {
        for _ in 0..2 * seconds {
            self.since += Duration::from_millis(500);
            self.hand(Input::Tick);
            beating.iter().for_each(|instance| self.beat(proxy(*instance)));
        }
    }

    /// What a proxy is granted of all that there is.
    fn want(&mut self, from: u128) -> u64 {
        self.told.clear();
        let want = Want {
            least: 1,
            account: account(),
            queued: TOKENS,
            rate: 1_000,
        };
        self.say(from, Said::Want(want));
        self.granted()
    }

    /// Since it was wanted last.
    fn granted(&self) -> u64 {
        let grants = self.told.iter().map(|(.., told)| match told {
            Told::Grant { tokens, .. } => *tokens,
            _ => 0,
        });
        grants.sum()
    }
}

fn reading(since: Duration) -> Reading {
    let since = since.as_nanos() as u64;
    Reading {
        mono: Time::from_nanos(1_000_000_000 + since),
        wall: WALL + since,
    }
}

#[test]
fn the_rules_of_claims_hold_when_the_one_before_ends_later() {
    let to = Label::from_nanos(WALL).after(settings().claim + Duration::from_millis(15));
    let world = World::new(Some(Claim {
        epoch: 1,
        owner: Uuid::from_u128(70),
        from: to.before(settings().claim),
        to,
        recorded: None,
    }));
    let [claim] = world.claims[..] else {
        panic!("{:?}", world.claims)
    };
    assert_eq!(claim.epoch, 2);
    assert!(
        claim.to >= to,
        "VULCAN_SIM_ORDER=a claim to {:?} after one to {to:?}",
        claim.to
    );
}

impl World {
    /// When a proxy was told last to come again.
    fn retry(&self, instance: u128) -> Option<Duration> {
        let of = self.told.iter().filter(|(to, ..)| *to == proxy(instance).instance);
        let mut retries = of.filter_map(|(.., told)| match told {
            Told::Exhausted { retry_in, .. } => Some(*retry_in),
            _ => None,
        });
        retries.next_back()
    }

    /// A proxy has all that there is; another one wants something.
    fn wanting() -> World {
        let mut world = World::new(None);
        world.go_on(4, &[1, 2]);
        assert_eq!(world.want(1), TOKENS);
        assert_eq!(world.want(2), 0);
        world
    }

    /// What was granted was called back, nothing has come yet, and the other one was told when to come again.
    fn exhausted() -> (World, Duration) {
        let mut world = World::wanting();
        let soon = world.retry(2).unwrap();
        world.pass(soon);
        assert!(world.is_recalled(1));
        world.pass(Duration::from_millis(50));
        let retry = world.retry(2).unwrap();
        assert!(retry > soon);
        world.told.clear();
        (world, retry)
    }

    fn pass(&mut self, time: Duration) {
        self.since += time;
        self.hand(Input::Tick);
    }

    fn is_recalled(&self, instance: u128) -> bool {
        let is_recall = |told: &Told| matches!(told, Told::Recall { .. });
        let mut told = self.told.iter();
        told.any(|(to, _, told)| *to == proxy(instance).instance && is_recall(told))
    }

    fn give_back(&mut self, used: u64) {
        self.give_back_with(used, Vec::new(), false);
    }

    fn give_back_with(&mut self, used: u64, earlier: Vec<(u64, Duration)>, unsettled: bool) {
        self.say(
            1,
            Said::Return {
                id: 1,
                used,
                unspent: TOKENS - used,
                age: Duration::ZERO,
                earlier,
                unsettled,
            },
        );
    }
}

#[test]
fn what_another_has_not_spent_is_waited_for_and_not_the_end_of_the_period() {
    let mut world = World::wanting();
    assert!(!world.is_recalled(1), "it has only just been granted");
    let soon = world.retry(2).unwrap();
    assert!(soon <= Duration::from_millis(500), "{soon:?}");
    // By then it is called back, and nothing is said before that can have come.
    world.told.clear();
    world.pass(soon);
    assert!(world.is_recalled(1));
    assert_eq!(world.retry(2), None);
    world.give_back(1);
    assert_eq!(world.granted(), TOKENS - 1);
}

#[test]
fn who_was_told_to_come_late_is_told_when_all_was_spent_early() {
    let (mut world, late) = World::exhausted();
    world.give_back(TOKENS);
    let bucket = rule().bucket();
    let earlier = world.retry(2).unwrap();
    assert!(earlier + bucket / 2 <= late, "{earlier:?}, {late:?}");
    assert!(earlier >= rule().period, "{earlier:?}");
}

#[test]
fn who_asked_long_ago_is_told_when_something_came_back() {
    let (mut world, _) = World::exhausted();
    world.go_on(2, &[1, 2]);
    world.give_back(0);
    assert_eq!(world.retry(2), Some(Duration::ZERO));
}

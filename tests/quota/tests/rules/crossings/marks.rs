//! When a proxy uses standby, and what its next life says of that.

use std::time::Duration;

use shared::quota::proxy::{Input, Output, Verdict};
use shared::quota::{AccountId, ProxyId, Said, Settings, Told};

use super::{PROXY, World, with_a_standby_of};

const SECOND: ProxyId = ProxyId { boot: 2, ..PROXY };

fn settings() -> Settings {
    Settings {
        forget_after: Duration::from_secs(100),
        ..Settings::default()
    }
}

impl World {
    fn marks(&mut self, input: Input) -> Vec<bool> {
        let outputs = self.proxy.handle(input, self.now);
        let marks = marks(&outputs);
        self.note(outputs);
        marks
    }

    fn pass(&mut self, time: Duration) -> Vec<bool> {
        self.now = self.now + time;
        self.label = self.label.after(time);
        self.marks(Input::Tick)
    }

    /// What it makes of a request, and what it has written.
    fn ask(&mut self, account: AccountId) -> (Verdict, Vec<bool>) {
        let verdict = self.proxy.block(account, 1, self.now);
        (verdict, marks(&self.proxy.take_outputs(self.now)))
    }

    /// What it says of the lives before it, with a beat and to a census.
    fn unknown_before(&mut self, account: AccountId) -> [Option<Duration>; 2] {
        let shard = account.shard();
        let said = self.tell(Told::Census { shard, epoch: 1 });
        let began = |said: &Said| match said {
            Said::Beat { began, .. } | Said::Census { began, .. } => Some(*began),
            _ => None,
        };
        let mut told = said.iter().filter_map(began);
        let counted = told.next().unwrap();
        let said = self.hand(Input::Tick);
        [said.iter().find_map(began).unwrap(), counted]
    }
}

fn marks(outputs: &[Output]) -> Vec<bool> {
    let marks = outputs.iter().filter_map(|output| match output {
        Output::Mark(is_set) => Some(*is_set),
        _ => None,
    });
    marks.collect()
}

/// A proxy that has been alone for long enough.
fn alone(life: (ProxyId, bool)) -> (World, AccountId) {
    let (mut world, account, rule) = with_a_standby_of(life, settings());
    world.pass(rule.period * 2);
    (world, account)
}

#[test]
fn the_rules_of_marks_hold_until_one_is_removed() {
    let (mut world, account) = alone((PROXY, true));
    let (verdict, marks) = world.ask(account);
    let rest = world.slots.rest(account.key);
    assert!(
        verdict != Verdict::Again && rest == 0,
        "VULCAN_SIM_ORDER=a marked proxy alone, a request: {verdict:?}, {rest} can be spent"
    );
    assert_eq!(marks, [false]);
    let (verdict, marks) = world.ask(account);
    assert!(verdict != Verdict::Again && marks.is_empty(), "{verdict:?}, {marks:?}");
    world.marks(Input::Marked(false));
    assert_eq!(world.ask(account), (Verdict::Again, Vec::new()));
}

#[test]
fn the_rules_of_marks_hold_for_the_life_that_finds_none() {
    for (life, is_known) in [((PROXY, true), true), ((SECOND, true), true), ((SECOND, false), false)] {
        let (mut world, account, _) = with_a_standby_of(life, settings());
        world.pass(Duration::from_secs(1));
        let began = world.unknown_before(account);
        let expected = (!is_known).then_some(Duration::from_secs(1));
        assert!(
            began == [expected; 2],
            "VULCAN_SIM_ORDER=a life {life:?}, a census: {began:?}"
        );
    }
}

#[test]
fn the_rules_of_marks_hold_for_as_long_as_a_use_counts() {
    let (mut world, account) = alone((PROXY, false));
    assert_eq!(world.ask(account).0, Verdict::Again);
    // Its allowance is over, which it learns now.
    assert!(world.pass(Duration::from_secs(1)).is_empty());
    let early = world.pass(settings().forget_after * 2 - Duration::from_millis(1));
    assert!(
        early.is_empty(),
        "VULCAN_SIM_ORDER=a standby used, marked {early:?} while that counts"
    );
    assert_eq!(world.pass(Duration::from_millis(1)), [true]);
    assert!(world.pass(Duration::from_secs(1)).is_empty());
    world.marks(Input::Marked(true));
    assert!(world.pass(settings().forget_after * 3).is_empty());
}

/// It is asked for a standby while its mark is written.
#[test]
fn the_rules_of_marks_hold_while_one_is_written() {
    let (mut world, account, rule) = with_a_standby_of((SECOND, false), settings());
    let mut marks = Vec::new();
    // Its owner answers all the time.
    while marks.is_empty() {
        let shards = vec![(account.shard(), 1)];
        world.tell(Told::Beat { shards });
        marks = world.pass(Duration::from_secs(1));
    }
    assert_eq!(marks, [true]);
    world.pass(rule.period * 2);
    let (verdict, marks) = world.ask(account);
    assert!(
        verdict != Verdict::Again,
        "VULCAN_SIM_ORDER=a mark written, a request: {verdict:?}"
    );
    assert_eq!(marks, [false]);
    // What was asked for before is done.
    world.marks(Input::Marked(true));
    let (verdict, _) = world.ask(account);
    assert!(
        verdict != Verdict::Again,
        "VULCAN_SIM_ORDER=a mark written, a request, that mark there: {verdict:?}"
    );
    world.marks(Input::Marked(false));
    assert_eq!(world.ask(account).0, Verdict::Again);
}

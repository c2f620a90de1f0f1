//! Of stores that went back, and of those that succeed others.

use super::*;
use crate::change::Op;
use crate::stream::message::Draining;

#[test]
fn a_change_takes_nobody_to_another_store() {
    let mut world = World::live();
    let followed = world.log.state.epoch;
    let Down::Change(mut change) = world.change("api") else {
        unreachable!("a change");
    };
    change.ops.push(Op::succession(followed, Epoch(Uuid::from_u128(9))));
    world.lines(vec![Down::Change(change)]);
    assert_eq!(world.proxy.state().epoch, followed);
    assert_eq!(world.proxy.state().objects, world.log.state.objects);
    assert_eq!(world.level().applied, world.log.state.configured);
}

#[test]
fn another_store_is_not_followed_unless_it_succeeds() {
    let other = Epoch(instance(9));
    let mut world = World::live();
    let old = world.log.state.epoch;
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    world.seen.clear();
    world.dial();
    world.greet(other, Vec::new());
    assert_eq!(
        world.alarms,
        [Alarm::OtherEpoch {
            followed: old,
            offered: other
        }]
    );
    world.seen.clear();
    world.dial();
    // Its log is another one, and may well be shorter.
    world.log.state.epoch = other;
    world.greet(other, vec![old]);
    assert_eq!(
        world.level().applied,
        Revision::ZERO,
        "nothing of that store is in use yet"
    );
    world.snapshot();
    assert_eq!(
        (world.proxy.state().epoch, world.phase),
        (other, Phase::Serving { stale: false })
    );
}

#[test]
fn a_store_that_went_back_is_not_followed() {
    let mut world = World::live();
    let change = world.change("a");
    world.lines(vec![change]);
    world.log = Log::new();
    world.log.service("web");
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    world.seen.clear();
    world.welcome();
    assert_eq!(
        world.alarms,
        [Alarm::WentBack {
            applied: Revision(2),
            offered: Revision(1)
        }]
    );
    assert_eq!(world.proxy.applied(), Revision(2));
}

impl World {
    /// Cut, and welcomed by a store of that epoch, which may succeed the one followed; not yet caught up with it.
    fn met(&mut self, epoch: u128) {
        let followed = self.proxy.state().epoch;
        self.give(Input::Disconnected(Disconnected::Lost(String::new())));
        self.seen.clear();
        self.dial();
        self.log.state.epoch = Epoch(instance(epoch));
        self.greet(self.log.state.epoch, vec![followed]);
    }

    fn come_over(&mut self, epoch: u128) {
        self.met(epoch);
        self.snapshot();
    }

    fn registrations(&self) -> Vec<u64> {
        self.level().draining.iter().map(|one| one.registration.0).collect()
    }
}

fn one(address: &str, registration: u64) -> Draining {
    Draining {
        address: address.into(),
        ..draining("web", "a", registration)
    }
}

#[test]
fn what_drains_of_another_history_is_older_than_all_of_this_one() {
    let mut world = World::live();
    let change = world.change("a");
    world.lines(vec![change]);
    world.give(Input::Draining(vec![one("a:1", 2)]));
    assert_eq!(world.registrations(), [2]);
    world.met(9);
    assert_eq!(
        (world.level().applied, world.registrations()),
        (Revision::ZERO, vec![2]),
        "its own number, as long as nothing of the new store is acknowledged"
    );
    // What the new table leaves out, and what drained before.
    world.drains = vec![one("a:1", 2), one("a:2", 70)];
    world.snapshot();
    assert_eq!(
        (world.level().applied, world.registrations()),
        (Revision(2), vec![0, 0])
    );
    // What this history registers keeps its number, at the same address as well.
    world.drains.push(one("a:2", 3));
    let change = world.change("b");
    world.lines(vec![change]);
    assert_eq!(world.registrations(), [0, 0, 3]);
    world.give(Input::Draining(vec![one("a:2", 70), one("a:2", 3)]));
    assert_eq!(world.registrations(), [0, 3]);
    world.give(Input::Draining(vec![one("a:2", 3)]));
    assert_eq!(world.registrations(), [3]);
    // The lost one has ended: the number is this history's own now.
    world.give(Input::Draining(vec![one("a:2", 70)]));
    assert_eq!(world.registrations(), [70]);
}

#[test]
fn it_stays_so_through_reconnects_and_further_histories() {
    let mut world = World::live();
    world.drains = vec![one("a:1", 70)];
    world.come_over(8);
    assert_eq!(world.registrations(), [0]);
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    world.said.clear();
    world.seen.clear();
    world.welcome();
    assert_eq!((world.level().applied, world.registrations()), (Revision(1), vec![0]));
    world.drains = vec![one("a:1", 70), one("a:2", 2)];
    let change = world.change("a");
    world.lines(vec![change]);
    assert_eq!(world.registrations(), [0, 2]);
    world.come_over(9);
    assert_eq!(world.registrations(), [0, 0]);
}

#[test]
fn a_snapshot_of_the_same_history_leaves_the_numbers_alone() {
    let mut world = World::live();
    world.proxy.state.digest = Digest::default();
    world.drains = vec![one("a:1", 1)];
    world.beat(None);
    world.dial();
    world.greet(world.log.state.epoch, Vec::new());
    world.snapshot();
    assert_eq!((world.level().applied, world.registrations()), (Revision(1), vec![1]));
}

/// It stands in the middle of a change when the store goes back and another change follows there.
#[test]
fn what_waits_is_of_the_connection_that_brought_it() {
    let mut world = World::live();
    let under_way = world.change("a");
    let common = world.log.state.clone();
    let lost = world.change("b");
    let outputs = world.proxy.handle(Input::Lines(vec![under_way]), at(world.now));
    assert!(matches!(outputs[..], [Output::Write(_)]));
    world.proxy.handle(Input::Stored(Ok(())), at(world.now));
    let outputs = world.proxy.handle(Input::Swapped, at(world.now));
    assert!(matches!(outputs[..], [Output::Retire]));
    world.lines(vec![lost]);
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));

    world.log.state = common;
    world.seen.clear();
    let instead = world.change("c");
    let hello = world.welcome();
    assert_eq!(
        hello.since,
        Revision(2),
        "what is in use, though it is not acknowledged"
    );
    world.lines(vec![instead]);
    world.give(Input::Retired(Vec::new()));
    assert_eq!(world.level().applied, Revision(3));
    assert_eq!(world.proxy.state().digest, world.log.state.digest);
}

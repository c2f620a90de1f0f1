//! Owners whose label time is before the wall clock, all of them, since one's had run away and proxies heard of it.

use std::time::Duration;

use shared::quota::Label;
use shared::quota::owner::{Input, Output};
use shared::time::Time;
use uuid::Uuid;

use super::{TOKENS, WALL, World, reading, rule, settings};

const LEAD: Duration = Duration::from_millis(750);

fn world() -> World {
    let floor = Label::from_nanos(WALL).after(LEAD);
    let mut world = World::after(floor, Vec::new(), settings(), None, rule());
    world.go_on(4, &[1, 2]);
    world
}

impl World {
    /// Two others told, on being asked so long ago, a label time so far behind this one's of now.
    fn hear_others(&mut self, behind: Duration, way: Duration) {
        let label = self.owner.label().before(behind);
        let asked = reading(self.since).mono;
        let asked = Time::from_nanos(asked.as_nanos() - way.as_nanos() as u64);
        for owner in [71, 72].map(Uuid::from_u128) {
            self.hand(Input::Other { owner, label, asked });
        }
    }
}

#[test]
fn an_owner_grants_that_is_beside_the_others_for_all_it_knows() {
    let mut world = world();
    world.hear_others(Duration::from_millis(25), Duration::from_millis(15));
    world.hand(Input::Tick);
    assert_eq!(world.want(1), TOKENS);
}

#[test]
fn an_owner_that_is_astray_goes_back_to_the_others_and_not_to_its_wall_clock() {
    let mut world = world();
    let behind = Duration::from_millis(100);
    world.hear_others(behind, Duration::ZERO);
    let others = world.owner.label().before(behind);
    let outputs = world.owner.handle(Input::Tick, reading(world.since));
    let [Output::Resign { floor: (floor, _) }] = outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(floor, others);
}

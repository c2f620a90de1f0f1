use super::*;
use crate::stream::fixture::{Log, at, instance};

struct World {
    hub: Hub,
    listener: Listener,
}

impl World {
    fn new() -> World {
        let log = Log::new();
        World {
            hub: Hub::new(&log.state, &log.commits, Some(PlaneId(instance(100))), at(0)),
            listener: Listener::new(other(), 3, at(0)),
        }
    }

    fn give(&mut self, input: Input, ms: u64) -> Vec<Output> {
        self.listener.handle(input, &mut self.hub, at(ms))
    }

    fn live() -> World {
        let mut world = World::new();
        assert_eq!(world.give(Input::Tick, 0), [Output::Connect]);
        assert_eq!(world.give(Input::Connected, 1).len(), 2);
        let welcome = Told::Welcome { id: other() };
        assert!(world.give(Input::Lines(vec![welcome]), 2).is_empty());
        world
    }
}

fn other() -> PlaneId {
    PlaneId(instance(101))
}

#[test]
fn it_asks_again_and_again_and_leaves_the_silent() {
    let mut world = World::live();
    let ping = Output::Send(Asked::Ping { sent: at(500) });
    assert_eq!(world.give(Input::Tick, 500), [ping]);
    let pong = Told::Pong { sent: at(500) };
    assert!(world.give(Input::Lines(vec![pong]), 600).is_empty());
    assert_eq!(world.give(Input::Tick, 3_700), [Output::Close]);
    let again = (3_700..10_000).find(|ms| world.give(Input::Tick, *ms) == [Output::Connect]);
    assert!(again.is_some());
}

#[test]
fn another_one_at_the_same_address_is_not_listened_to() {
    let mut world = World::new();
    world.give(Input::Tick, 0);
    world.give(Input::Connected, 1);
    let welcome = Told::Welcome {
        id: PlaneId(instance(5)),
    };
    assert_eq!(world.give(Input::Lines(vec![welcome]), 2), [Output::Close]);
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up() {
    let mut world = World::new();
    world.give(Input::Tick, 0);
    assert!(world.give(Input::Tick, 2_900).is_empty());
    assert_eq!(world.give(Input::Tick, 3_000), [Output::Close]);
}

#[test]
fn it_tells_when_the_log_has_moved() {
    let mut world = World::live();
    let head = |revision| {
        Input::Lines(vec![Told::Head {
            revision: Revision(revision),
        }])
    };
    assert!(world.give(head(0), 3).is_empty());
    assert_eq!(world.give(head(7), 4), [Output::Moved(Revision(7))]);
}

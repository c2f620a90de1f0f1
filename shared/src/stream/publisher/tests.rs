use super::*;
use crate::change::Revision;
use crate::stream::fixture::{Log, at, hello, instance, level};
use crate::stream::message::State;
use crate::stream::planes::PlaneId;

struct World {
    log: Log,
    hub: Hub,
    publisher: Publisher,
}

impl World {
    fn new() -> World {
        let mut log = Log::new();
        log.service("web");
        let hub = Hub::new(&log.state, &log.commits, None, at(0));
        World {
            log,
            hub,
            publisher: Publisher::new(at(0)),
        }
    }

    /// Joined, greeted, and told all there is.
    fn live() -> World {
        let mut world = World::new();
        world.give(Input::Line(Up::Hello(hello("p", instance(1), 1))), 0);
        world.join();
        world.give(Input::Joined(Joined::Committed), 0);
        assert!(world.give(Input::Written, 0).is_empty());
        world
    }

    fn give(&mut self, input: Input, ms: u64) -> Vec<Output> {
        self.publisher.handle(input, &mut self.hub, at(ms))
    }

    fn join(&mut self) {
        let commit = self.log.join("p", instance(1));
        self.hub.committed(&commit, &self.log.state, at(0));
    }

    fn service(&mut self, name: &str) {
        let commit = self.log.service(name);
        self.hub.committed(&commit, &self.log.state, at(0));
    }
}

fn lines(outputs: &[Output]) -> Vec<Down> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send(bytes) => Some(bytes),
        _ => None,
    });
    sent.flat_map(|bytes| bytes.split(|byte| *byte == b'\n'))
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn revisions(outputs: &[Output]) -> Vec<u64> {
    let changes = lines(outputs).into_iter().map(|line| match line {
        Down::Change(change) => change.to.0,
        other => panic!("{other:?}"),
    });
    changes.collect()
}

#[test]
fn it_joins_before_it_welcomes() {
    let mut world = World::new();
    let outputs = world.give(Input::Line(Up::Hello(hello("p", instance(1), 1))), 0);
    assert!(matches!(&outputs[..], [Output::Join { replaces: None, .. }]));
    // Not committed yet, it is asked again.
    assert!(matches!(
        &world.give(Input::Joined(Joined::Committed), 0)[..],
        [Output::Join { .. }]
    ));
    world.join();
    let outputs = world.give(Input::Joined(Joined::Committed), 0);
    assert_eq!(outputs[0], Output::Accept);
    let lines = lines(&outputs);
    assert!(matches!(&lines[..], [Down::Welcome(welcome), Down::Snapshot(_)] if welcome.head == Revision(1)));
}

#[test]
fn changes_gather_only_while_a_buffer_is_on_its_way() {
    let mut world = World::live();
    world.service("a");
    assert_eq!(revisions(&world.give(Input::Wake, 1)), [3]);
    world.service("b");
    world.service("c");
    assert!(world.give(Input::Wake, 2).is_empty());
    assert_eq!(revisions(&world.give(Input::Written, 3)), [4, 5]);
}

#[test]
fn a_beat_echoes_and_tells_what_was_told() {
    let mut world = World::live();
    let state = State {
        sent: at(7),
        level: Some(level(1)),
    };
    assert!(world.give(Input::Line(Up::State(state)), 10).is_empty());
    world.service("a");
    // Changes go first; the beat is about them.
    assert_eq!(revisions(&world.give(Input::Tick, 1_000)), [3]);
    let beat = lines(&world.give(Input::Written, 1_001));
    let expected = Beat {
        head: Revision(3),
        digest: world.log.state.digest,
        echo: Some(at(7)),
    };
    assert_eq!(beat, [Down::Beat(expected)]);
    assert!(world.give(Input::Written, 1_002).is_empty());
    assert!(world.give(Input::Tick, 1_500).is_empty());
}

/// Joined and greeted; it keeps limits.
fn counting() -> World {
    let mut world = World::new();
    let mut hello = hello("p", instance(1), 1);
    hello.features.push(message::LIMITS.into());
    world.give(Input::Line(Up::Hello(hello)), 0);
    world.join();
    world.give(Input::Joined(Joined::Committed), 0);
    world
}

fn epochs(epoch: u64) -> Bytes {
    line(&Down::Epochs {
        shards: vec![(1, epoch)],
    })
}

/// The revisions of changes, the epochs that were told, 0 for a beat.
fn told(outputs: &[Output]) -> Vec<u64> {
    let lines = lines(outputs).into_iter();
    lines
        .map(|line| match line {
            Down::Epochs { shards } => shards[0].1,
            Down::Change(change) => change.to.0,
            Down::Beat(_) => 0,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn what_is_told_of_limits_goes_out_together_and_behind_the_changes_that_it_builds_on() {
    let mut world = counting();
    assert_eq!(world.publisher.counts(), Some(instance(1)));
    assert!(
        world.give(Input::Tell(epochs(101)), 1).is_empty(),
        "the welcome is on its way"
    );
    assert!(world.give(Input::Tell(epochs(102)), 1).is_empty());
    assert_eq!(told(&world.give(Input::Written, 2)), [101, 102]);
    world.service("a");
    assert!(world.give(Input::Tell(epochs(103)), 3).is_empty());
    assert_eq!(told(&world.give(Input::Written, 4)), [3, 103]);
    assert!(world.give(Input::Written, 5).is_empty());
    assert_eq!(told(&world.give(Input::Tell(epochs(104)), 6)), [104]);
}

#[test]
fn a_beat_does_not_wait_until_there_is_nothing_to_tell() {
    let mut world = counting();
    world.give(Input::Tell(epochs(101)), 1);
    world.give(Input::Tick, 1_000);
    assert_eq!(told(&world.give(Input::Written, 1_001)), [0, 101]);
}

#[test]
fn what_a_slow_proxy_is_told_of_limits_is_bounded() {
    let mut world = counting();
    let many: Bytes = epochs(101).repeat(20_000).into();
    let held = TELLS_MAX / many.len();
    (0..held + 3).for_each(|_| drop(world.give(Input::Tell(many.clone()), 1)));
    assert_eq!(told(&world.give(Input::Written, 2)).len(), held * 20_000);
}

#[test]
fn only_one_that_keeps_limits_is_told_and_what_it_says_is_heard() {
    let mut world = World::live();
    assert_eq!(world.publisher.counts(), None);
    assert!(world.give(Input::Tell(epochs(101)), 1).is_empty());
    let up = quota::Up {
        from: quota::ProxyId {
            instance: instance(1),
            boot: 1,
        },
        to: instance(9),
        number: 1,
        heard: 0,
        revision: Revision(1),
        items: Vec::new(),
    };
    let heard = world.give(Input::Line(Up::Limits(Box::new(up.clone()))), 2);
    assert_eq!(heard, [Output::Heard(Box::new(up))]);
    let mut leaving = counting();
    leaving.give(Input::Line(Up::Goodbye {}), 1);
    assert_eq!(leaving.publisher.counts(), None);
}

#[test]
fn without_progress_it_is_closed_unless_this_side_slept() {
    let mut world = World::live();
    (0..29_000).step_by(250).for_each(|ms| world.hub.tick(at(ms)));
    world.give(Input::Tick, 29_000);
    world.hub.tick(at(90_000));
    assert!(
        !world
            .give(Input::Tick, 90_001)
            .contains(&Output::Close(Closing::NoProgress))
    );
    (90_000..120_000).step_by(250).for_each(|ms| world.hub.tick(at(ms)));
    assert_eq!(world.give(Input::Tick, 120_000), [Output::Close(Closing::NoProgress)]);
    assert!(world.publisher.is_closed());
    assert!(!world.hub.roster().member("p").unwrap().1.is_connected());
}

#[test]
fn a_goodbye_is_committed_and_then_the_stream_ends() {
    let mut world = World::live();
    let leave = world.give(Input::Line(Up::Goodbye {}), 1);
    assert_eq!(
        leave,
        [Output::Leave {
            name: "p".into(),
            instance: instance(1)
        }]
    );
    let commit = world.log.leave("p", true);
    world.hub.committed(&commit, &world.log.state, at(2));
    assert_eq!(world.give(Input::Left, 2), [Output::Close(Closing::Goodbye)]);
}

#[test]
fn another_connection_of_the_member_ends_this_one() {
    let mut world = World::live();
    let mut second = Publisher::new(at(5));
    let outputs = second.handle(
        Input::Line(Up::Hello(hello("p", instance(1), 2))),
        &mut world.hub,
        at(5),
    );
    assert_eq!(outputs[0], Output::Accept);
    // What the old one still says does not count.
    let state = State {
        sent: at(6),
        level: Some(level(9)),
    };
    assert_eq!(
        world.give(Input::Line(Up::State(state)), 6),
        [Output::Close(Closing::Evicted)]
    );
    let (_, peer) = world.hub.roster().member("p").unwrap();
    assert!(peer.is_connected() && peer.level().is_none());
}

#[test]
fn a_removed_member_is_sent_away() {
    let mut world = World::live();
    let commit = world.log.leave("p", false);
    world.hub.committed(&commit, &world.log.state, at(1));
    assert_eq!(world.hub.take_news().closed.len(), 1);
    assert_eq!(world.give(Input::Wake, 1), [Output::Close(Closing::Evicted)]);
}

#[test]
fn an_impostor_is_refused_with_how_long() {
    let mut world = World::live();
    let mut second = Publisher::new(at(5));
    let outputs = second.handle(
        Input::Line(Up::Hello(hello("p", instance(2), 1))),
        &mut world.hub,
        at(5),
    );
    assert!(matches!(outputs[..], [Output::Refuse(Refusal::Held { .. })]));
}

#[test]
fn what_does_not_begin_with_a_hello_is_closed() {
    for (input, closing) in [
        (Input::Line(Up::Goodbye {}), Closing::Protocol),
        (Input::Ended, Closing::Ended),
        (Input::Shutdown, Closing::Shutdown),
    ] {
        assert_eq!(World::new().give(input, 0), [Output::Close(closing)]);
    }
    assert_eq!(
        World::new().give(Input::Tick, 10_000),
        [Output::Close(Closing::NoProgress)]
    );
}

#[test]
fn a_shutdown_says_where_to_come_back() {
    let outputs = World::live().give(Input::Shutdown, 1);
    assert!(matches!(lines(&outputs)[..], [Down::Goaway { .. }]));
    assert_eq!(outputs[1], Output::Close(Closing::Shutdown));
}

#[test]
fn only_who_knows_queries_is_asked() {
    let query = |id| Input::Ask(Query { id, about: None });
    let mut world = World::live();
    assert!(!world.publisher.answers());
    assert!(world.give(query(1), 0).is_empty());

    let mut world = World::new();
    world.join();
    let mut hello = hello("p", instance(1), 1);
    hello.features.push(message::QUERY.into());
    world.give(Input::Line(Up::Hello(hello)), 0);
    assert!(world.publisher.answers());
    // The greeting is not out of hand yet.
    for id in 0..100 {
        assert!(world.give(query(id), 0).is_empty());
    }
    for id in 0..QUERIES_MAX as u64 {
        assert_eq!(
            lines(&world.give(Input::Written, 0)),
            [Down::Query(Query { id, about: None })]
        );
    }
    assert!(world.give(Input::Written, 0).is_empty(), "the others were dropped");
    world.service("a");
    let answer = Upstreams {
        id: 3,
        list: Vec::new(),
        more: 0,
        traffic: None,
    };
    let outputs = world.give(Input::Line(Up::Upstreams(answer.clone())), 0);
    assert_eq!(outputs[0], Output::Answered(answer));
    assert_eq!(revisions(&outputs), [3]);
}

#[test]
fn on_a_shared_store_a_welcome_tells_of_the_head_or_that_it_is_not_known() {
    for known in [true, false] {
        let mut log = Log::new();
        log.join("p", instance(1));
        let hub = Hub::new(&log.state, &log.commits, Some(PlaneId(instance(9))), at(0));
        let publisher = Publisher::new(at(0));
        let mut world = World { log, hub, publisher };
        let outputs = world.give(Input::Line(Up::Hello(hello("p", instance(1), 1))), 0);
        assert_eq!(outputs, [Output::Look]);
        // Appended by another control plane.
        if known {
            world.service("web");
        }
        let welcome = match &lines(&world.give(Input::Looked(known), 1))[..] {
            [Down::Welcome(welcome), ..] => welcome.clone(),
            other => panic!("{other:?}"),
        };
        let head = if known { Revision(2) } else { Revision::ZERO };
        assert_eq!((welcome.current, welcome.head), (known, head));
    }
}

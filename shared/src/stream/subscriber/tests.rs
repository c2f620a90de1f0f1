use super::*;
use crate::digest::Digest;
use crate::stream::fixture::{Log, at, draining, instance};
use crate::stream::message::{
    self, Beat, Busy, Change, Down, Held, Hello, Query, SnapshotOffer, Upstreams, WARMING_MAX, Warming, Welcome,
};

mod echo;
mod history;

/// A proxy whose outputs are carried out at once, but for what a test holds back or lets fail.
struct World {
    log: Log,
    proxy: Subscriber,
    /// What was put out, in order, by its first word.
    seen: Vec<&'static str>,
    said: Vec<Up>,
    phase: Phase,
    alarms: Vec<Alarm>,
    disk: Result<(), String>,
    unlink: Result<(), String>,
    /// What drains after the next `Retire`.
    drains: Vec<crate::stream::message::Draining>,
    now: u64,
}

fn settings(on_lease_end: OnLeaseEnd) -> Settings {
    Settings {
        identity: Identity {
            name: "p".into(),
            instance: instance(1),
            boot: 1,
            build: "test".into(),
        },
        lease: Duration::from_secs(10),
        on_lease_end,
        urls: 2,
        seed: 7,
    }
}

impl World {
    fn new(stored: Option<State>) -> World {
        World::with(stored, OnLeaseEnd::Serve, Disk::Good)
    }

    fn with(stored: Option<State>, on_lease_end: OnLeaseEnd, disk: Disk) -> World {
        let mut log = Log::new();
        log.service("web");
        let (proxy, outputs) = Subscriber::new(settings(on_lease_end), Loaded { state: stored, disk }, at(0));
        let mut world = World {
            log,
            proxy,
            seen: Vec::new(),
            said: Vec::new(),
            phase: Phase::Starting,
            alarms: Vec::new(),
            disk: Ok(()),
            unlink: Ok(()),
            drains: Vec::new(),
            now: 0,
        };
        world.carry_out(outputs);
        world
    }

    /// Connected, welcomed at the log's head, and caught up by a snapshot.
    fn live() -> World {
        let mut world = World::new(None);
        world.welcome();
        world.snapshot();
        world
    }

    fn give(&mut self, input: Input) {
        let outputs = self.proxy.handle(input, at(self.now));
        self.carry_out(outputs);
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            let (word, result) = match output {
                Output::Connect { .. } => ("connect", None),
                Output::Send(up) => {
                    self.said.push(up);
                    ("send", None)
                }
                Output::Close => ("close", None),
                Output::Fetch { .. } => ("fetch", None),
                Output::Save(_) => ("save", Some(Input::Stored(self.disk.clone()))),
                Output::Write(_) => ("write", Some(Input::Stored(self.disk.clone()))),
                Output::Look(_) => ("look", None),
                Output::Limits(_) | Output::Epochs(_) => ("limits", None),
                Output::Unlink => ("unlink", Some(Input::Unlinked(self.unlink.clone()))),
                Output::Swap { .. } => ("swap", Some(Input::Swapped)),
                Output::Retire => ("retire", Some(Input::Retired(self.drains.clone()))),
                Output::Phase(phase) => {
                    self.phase = phase;
                    ("phase", None)
                }
                Output::Alarm(alarm) => {
                    self.alarms.push(alarm);
                    ("alarm", None)
                }
                Output::Finished => ("finished", None),
            };
            self.seen.push(word);
            if let Some(input) = result {
                self.give(input);
            }
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 250;
            self.give(Input::Tick);
        }
    }

    fn dial(&mut self) -> Hello {
        while !self.seen.contains(&"connect") {
            self.run(250);
        }
        self.seen.clear();
        self.give(Input::Connected);
        match self.said.pop() {
            Some(Up::Hello(hello)) => hello,
            other => panic!("{other:?}"),
        }
    }

    fn greet(&mut self, epoch: Epoch, succeeds: Vec<Epoch>) {
        let head = self.log.state.configured;
        self.lines(vec![Down::Welcome(Welcome {
            epoch,
            succeeds,
            head,
            current: true,
            leased: true,
        })]);
    }

    fn welcome(&mut self) -> Hello {
        let hello = self.dial();
        self.greet(self.log.state.epoch, Vec::new());
        hello
    }

    fn snapshot(&mut self) {
        let State {
            configured: revision,
            digest,
            ..
        } = self.log.state;
        self.lines(vec![Down::Snapshot(SnapshotOffer {
            revision,
            path: "/".to_owned(),
            digest,
        })]);
        self.give(Input::Fetched(Ok(self.configuration())));
    }

    /// As a snapshot of the configuration holds it.
    fn configuration(&self) -> State {
        State {
            revision: self.log.state.configured,
            ..self.log.state.clone()
        }
    }

    fn lines(&mut self, lines: Vec<Down>) {
        self.give(Input::Lines(lines));
    }

    fn change(&mut self, name: &str) -> Down {
        let from = self.log.state.configured;
        let commit = self.log.service(name);
        Down::Change(Change {
            from,
            to: commit.revision,
            ops: commit.ops,
        })
    }

    fn beat(&mut self, echo: Option<u64>) {
        let State {
            configured: head,
            digest,
            ..
        } = self.log.state;
        self.lines(vec![Down::Beat(Beat {
            head,
            digest,
            echo: echo.map(at),
        })]);
    }

    /// A control plane that echoes what it heard, for so long.
    fn echo(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.run(1_000);
            self.beat(Some(self.now));
        }
    }

    fn level(&self) -> &Level {
        let levels = self.said.iter().rev().filter_map(|up| match up {
            Up::State(state) => state.level.as_ref(),
            _ => None,
        });
        levels.into_iter().next().unwrap()
    }
}

#[test]
fn the_first_table_comes_by_snapshot_and_opens_the_listeners() {
    let mut world = World::new(None);
    let hello = world.welcome();
    assert_eq!((hello.epoch, hello.since), (None, Revision::ZERO));
    assert_eq!(world.phase, Phase::Starting);
    world.seen.clear();
    world.snapshot();
    assert_eq!(world.seen, ["fetch", "save", "swap", "retire", "send", "phase"]);
    assert_eq!(
        (world.phase, world.level().applied),
        (Phase::Serving { stale: false }, Revision(1))
    );
}

#[test]
fn a_change_is_written_swapped_retired_and_then_acknowledged() {
    let mut world = World::live();
    world.seen.clear();
    world.drains = vec![draining("web", "a:1", 1)];
    let lines = vec![world.change("a"), world.change("b")];
    world.lines(lines);
    assert_eq!(world.seen, ["write", "swap", "retire", "send"]);
    assert_eq!((world.level().applied, world.level().draining.len()), (Revision(3), 1));
    assert!(world.proxy.table.entry("b").is_some());
}

#[test]
fn nothing_is_acknowledged_while_a_step_is_under_way() {
    let mut world = World::live();
    let mut outputs = Vec::new();
    let line = world.change("a");
    outputs.extend(world.proxy.handle(Input::Lines(vec![line]), at(1)));
    assert!(matches!(outputs[..], [Output::Write(_)]));
    let line = world.change("b");
    assert!(world.proxy.handle(Input::Lines(vec![line]), at(1)).is_empty());
    let outputs = world.proxy.handle(Input::Stored(Ok(())), at(1));
    assert!(matches!(outputs[..], [Output::Swap { touched: Some(_), .. }]));
    let outputs = world.proxy.handle(Input::Swapped, at(1));
    assert!(matches!(outputs[..], [Output::Retire]));
    let outputs = world.proxy.handle(Input::Retired(Vec::new()), at(1));
    // The one that waited follows at once.
    assert!(matches!(outputs[..], [Output::Send(_), Output::Write(_)]));
    assert_eq!(world.proxy.applied(), Revision(2));
}

#[test]
fn a_gap_is_cut_and_resumed_and_a_repetition_is_passed_over() {
    let mut world = World::live();
    let (first, second) = (world.change("a"), world.change("b"));
    world.lines(vec![first.clone(), first.clone()]);
    assert_eq!(world.proxy.applied(), Revision(2));
    let third = world.change("c");
    world.seen.clear();
    world.lines(vec![third]);
    assert_eq!(world.seen, ["close"]);
    let hello = world.dial();
    assert_eq!((hello.since, hello.resync), (Revision(2), false));
    world.greet(world.log.state.epoch, Vec::new());
    world.lines(vec![second]);
    assert_eq!(world.proxy.applied(), Revision(3));
    // A beat that tells of more than came is a gap as well.
    world.beat(None);
    assert_eq!(world.seen.last(), Some(&"close"));
}

#[test]
fn a_fold_that_went_wrong_is_healed_by_a_snapshot() {
    let mut world = World::live();
    world.proxy.state.digest = Digest::default();
    world.beat(None);
    assert_eq!((world.proxy.defects(), world.seen.last()), (1, Some(&"close")));
    assert_eq!(world.alarms, [Alarm::DigestMismatch { revision: Revision(1) }]);
    let hello = world.dial();
    assert_eq!(
        (hello.since, hello.digest, hello.resync),
        (Revision(1), world.log.state.digest, true)
    );
    world.greet(world.log.state.epoch, Vec::new());
    world.snapshot();
    world.beat(None);
    assert_eq!(
        (world.proxy.defects(), world.phase),
        (1, Phase::Serving { stale: false })
    );
}

#[test]
fn changes_wait_for_the_snapshot_that_they_build_on() {
    let mut world = World::new(None);
    world.welcome();
    let State {
        configured: revision,
        digest,
        ..
    } = world.log.state;
    let snapshot = world.configuration();
    let offer = SnapshotOffer {
        revision,
        path: "/".to_owned(),
        digest,
    };
    let change = world.change("a");
    world.lines(vec![Down::Snapshot(offer), change]);
    assert_eq!(world.phase, Phase::Starting);
    world.give(Input::Fetched(Ok(snapshot)));
    assert_eq!(
        (world.proxy.applied(), world.phase),
        (Revision(2), Phase::Serving { stale: false })
    );
}

#[test]
fn a_snapshot_that_failed_is_fetched_again() {
    let mut world = World::new(None);
    world.welcome();
    let State {
        configured: revision,
        digest,
        ..
    } = world.log.state;
    world.lines(vec![Down::Snapshot(SnapshotOffer {
        revision,
        path: "/".to_owned(),
        digest,
    })]);
    world.seen.clear();
    world.give(Input::Fetched(Err("503".to_owned())));
    world.run(2_000);
    assert_eq!(world.seen.iter().filter(|word| **word == "fetch").count(), 1);
    // One that is not what was offered is none.
    world.give(Input::Fetched(Ok(State::empty(world.log.state.epoch))));
    assert_eq!(world.phase, Phase::Starting);
    world.give(Input::Fetched(Ok(world.configuration())));
    assert_eq!(world.phase, Phase::Starting);
    world.run(2_000);
    world.give(Input::Fetched(Ok(world.configuration())));
    assert_eq!(world.phase, Phase::Serving { stale: false });
}

#[test]
fn a_start_from_disk_serves_only_once_it_has_caught_up() {
    let stored = World::live().configuration();
    let mut world = World::new(Some(stored.clone()));
    let change = world.change("a");
    let hello = world.welcome();
    assert_eq!((hello.since, world.phase), (Revision(1), Phase::Starting));
    world.lines(vec![change]);
    assert_eq!(world.phase, Phase::Serving { stale: false });
    // Alone it waits for five seconds.
    let mut world = World::new(Some(stored));
    world.run(4_750);
    assert_eq!(world.phase, Phase::Starting);
    world.run(250);
    assert_eq!(world.phase, Phase::Serving { stale: true });
    world.welcome();
    assert_eq!(world.phase, Phase::Serving { stale: false });
}

#[test]
fn without_a_table_nothing_is_served() {
    let mut world = World::new(None);
    world.run(60_000);
    assert_eq!(world.phase, Phase::Starting);
}

#[test]
fn the_lease_runs_from_what_was_sent_and_heard_of() {
    for (on_lease_end, after) in [
        (OnLeaseEnd::Serve, Phase::Serving { stale: true }),
        (OnLeaseEnd::Unready, Phase::Unready),
        (OnLeaseEnd::Stop, Phase::Stopped),
    ] {
        let mut world = World::with(None, on_lease_end, Disk::Good);
        world.welcome();
        world.snapshot();
        world.echo(20_000);
        let proven = world.now;
        world.seen.clear();
        world.run(9_750);
        assert_eq!(world.phase, Phase::Serving { stale: false }, "{on_lease_end:?}");
        world.run(250);
        assert_eq!((world.phase, world.now - proven), (after, 10_000));
        // Back, and behind: not under a lease before it has caught up.
        let change = world.change("a");
        world.seen.push("connect");
        world
            .proxy
            .handle(Input::Disconnected(Disconnected::Lost(String::new())), at(world.now));
        world.seen.clear();
        world.welcome();
        assert_eq!(world.phase, after);
        world.lines(vec![change]);
        assert_eq!(world.phase, Phase::Serving { stale: false });
    }
}

#[test]
fn an_echo_from_the_future_is_nobodys() {
    let mut world = World::live();
    world.beat(Some(1_000_000));
    (0..12).for_each(|_| {
        world.run(1_000);
        world.beat(None);
    });
    assert_eq!(world.phase, Phase::Serving { stale: true });
}

#[test]
fn a_silent_control_plane_is_left() {
    let mut world = World::live();
    world.seen.clear();
    world.run(4_750);
    assert!(!world.seen.contains(&"close"));
    world.run(4_000);
    assert!(world.seen.contains(&"close") && world.seen.contains(&"connect"));
}

#[test]
fn no_control_plane_sends_a_proxy_away_for_good() {
    let mut world = World::live();
    world.seen.clear();
    world.lines(vec![Down::Goaway { after_ms: u64::MAX }]);
    world.run(40_000);
    assert!(world.seen.contains(&"connect"));
}

#[test]
fn a_full_disk_is_emptied_and_not_waited_for() {
    let mut world = World::live();
    world.disk = Err("full".to_owned());
    world.seen.clear();
    let change = world.change("a");
    world.lines(vec![change]);
    assert_eq!(world.seen, ["write", "unlink", "alarm", "swap", "retire", "send"]);
    assert_eq!((world.level().applied, world.level().persisted), (Revision(2), false));
    // Nothing is written to it until a whole state can be.
    world.seen.clear();
    let change = world.change("b");
    world.lines(vec![change]);
    assert_eq!(world.seen, ["swap", "retire", "send"]);
    world.disk = Ok(());
    world.echo(31_000);
    assert!(world.seen.contains(&"save"));
    assert!(world.level().persisted);
}

#[test]
fn what_cannot_be_forgotten_is_not_outrun() {
    let mut world = World::live();
    world.disk = Err("read-only".to_owned());
    world.unlink = Err("read-only".to_owned());
    let change = world.change("a");
    world.lines(vec![change]);
    assert_eq!(
        (world.proxy.applied(), world.level().applied),
        (Revision(2), Revision(1))
    );
    assert!(matches!(world.alarms[..], [Alarm::DiskStuck(_)]));
    world.disk = Ok(());
    world.echo(31_000);
    assert_eq!((world.level().applied, world.level().persisted), (Revision(2), true));
}

#[test]
fn what_is_held_is_told_with_the_revision_that_holds_it() {
    let mut world = World::live();
    let held = |busy: &[(&str, u64)]| Held {
        service: "web".into(),
        revision: Revision(2),
        busy: busy
            .iter()
            .map(|(id, in_flight)| Busy {
                id: (*id).into(),
                in_flight: *in_flight,
            })
            .collect(),
    };
    let change = world.change("a");
    let now = at(world.now);
    world.proxy.handle(Input::Lines(vec![change]), now);
    world.proxy.handle(Input::Stored(Ok(())), now);
    world.proxy.handle(Input::Swapped, now);
    let outputs = world.proxy.handle(Input::Held(vec![held(&[("a", 3), ("b", 1)])]), now);
    assert!(outputs.is_empty(), "not before its revision");
    let outputs = world.proxy.handle(Input::Retired(Vec::new()), now);
    world.carry_out(outputs);
    assert_eq!((world.level().applied, world.level().held.len()), (Revision(2), 1));

    // Another count is told with the next state, another set at once.
    let before = world.said.len();
    world.give(Input::Held(vec![held(&[("a", 2), ("b", 1)])]));
    assert_eq!(world.said.len(), before);
    world.run(1_000);
    assert_eq!(world.level().held[0].busy[0].in_flight, 2);
    world.give(Input::Held(vec![held(&[("b", 1)])]));
    assert_eq!(world.level().held, [held(&[("b", 1)])]);
    world.give(Input::Held(Vec::new()));
    assert_eq!(world.level().held, []);
}

#[test]
fn what_is_warming_is_told_with_the_revision_that_brought_it() {
    let mut world = World::live();
    let warming = |id: &str, last: &str| Warming {
        service: "web".into(),
        id: id.into(),
        registration: Revision(2),
        last: last.into(),
    };
    let change = world.change("a");
    let now = at(world.now);
    let outputs = world.proxy.handle(Input::Lines(vec![change]), now);
    assert!(matches!(outputs[..], [Output::Write(_)]));
    world.proxy.handle(Input::Stored(Ok(())), now);
    world.proxy.handle(Input::Swapped, now);
    let outputs = world.proxy.handle(Input::Warming(vec![warming("a", "503")]), now);
    assert!(outputs.is_empty(), "not before its revision");
    let outputs = world.proxy.handle(Input::Retired(Vec::new()), now);
    world.carry_out(outputs);
    assert_eq!((world.level().applied, world.level().warming.len()), (Revision(2), 1));

    // Another outcome is told with the next state, another set at once.
    let before = world.said.len();
    world.give(Input::Warming(vec![warming("a", "500")]));
    assert_eq!(world.said.len(), before);
    world.run(1_000);
    assert_eq!(&*world.level().warming[0].last, "500");
    world.give(Input::Warming(Vec::new()));
    assert_eq!(world.level().warming, []);

    // Of very many some are counted only.
    let many = (0..WARMING_MAX + 5).map(|n| warming(&n.to_string(), ""));
    world.give(Input::Warming(many.collect()));
    assert_eq!(
        (world.level().warming.len(), world.level().warming_more),
        (WARMING_MAX, 5)
    );
}

#[test]
fn what_drains_is_a_level() {
    let mut world = World::live();
    world.drains = vec![draining("web", "a:1", 1)];
    let change = world.change("a");
    world.lines(vec![change]);
    let mut more = draining("web", "a:1", 1);
    more.in_flight = 5;
    let before = world.said.len();
    world.give(Input::Draining(vec![more]));
    assert_eq!(world.said.len(), before);
    world.run(1_000);
    assert_eq!(world.level().draining[0].in_flight, 5);
    // One that serves on is idle: somebody may wait for that.
    let mut idle = draining("web", "a:1", 1);
    idle.in_flight = 0;
    world.give(Input::Draining(vec![idle]));
    assert_eq!(world.level().draining[0].in_flight, 0, "said at once");
    world.give(Input::Draining(Vec::new()));
    assert!(world.level().draining.is_empty());
    // All of it again after a hello.
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    world.said.clear();
    world.seen.clear();
    world.welcome();
    assert_eq!(world.level().applied, Revision(2));
}

#[test]
fn goodbye_is_said_after_the_drain() {
    let mut world = World::live();
    world.give(Input::Stopping);
    assert_eq!(world.phase, Phase::Draining);
    world.echo(5_000);
    assert!(!world.said.contains(&Up::Goodbye {}));
    world.give(Input::Drained);
    assert_eq!(world.said.last(), Some(&Up::Goodbye {}));
    let before = world.said.len();
    world.run(2_000);
    assert_eq!(world.said.len(), before);
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    assert_eq!(world.seen.last(), Some(&"finished"));
}

#[test]
fn a_proxy_leaves_without_a_control_plane_as_well() {
    let mut world = World::new(None);
    world.give(Input::Stopping);
    world.give(Input::Drained);
    world.run(4_750);
    assert!(!world.seen.contains(&"finished"));
    world.run(500);
    assert_eq!(world.seen.iter().filter(|word| **word == "finished").count(), 1);
}

#[test]
fn a_proxy_that_has_been_alone_leaves_at_once() {
    let mut world = World::live();
    world.give(Input::Disconnected(Disconnected::Lost(String::new())));
    world.run(6_000);
    world.give(Input::Stopping);
    assert!(!world.seen.contains(&"finished"), "it drains first");
    world.run(1_000);
    world.give(Input::Drained);
    world.run(250);
    assert_eq!(world.seen.last(), Some(&"finished"));
}

#[test]
fn attempts_go_through_all_addresses() {
    let mut world = World::new(None);
    let mut urls = Vec::new();
    for _ in 0..200 {
        world.now += 250;
        for output in world.proxy.handle(Input::Tick, at(world.now)) {
            if let Output::Connect { url } = output {
                urls.push(url);
                let lost = Disconnected::Lost("refused".to_owned());
                world.proxy.handle(Input::Disconnected(lost), at(world.now));
            }
        }
    }
    assert!(urls.len() > 15, "{urls:?}");
    assert!(urls.windows(2).all(|pair| pair[0] != pair[1]));
}

/// Whoever was away for long is found again within a second and a tick; one that refuses is spared for longer.
#[test]
fn nobody_who_is_back_is_waited_for_long() {
    let lost = || Disconnected::Lost("refused".to_owned());
    let refused = || Disconnected::Refused {
        status: 503,
        detail: String::new(),
        held: false,
    };
    let longest = |why: &dyn Fn() -> Disconnected| {
        let mut world = World::new(None);
        let mut dials = Vec::new();
        for _ in 0..2_000 {
            world.now += 250;
            for output in world.proxy.handle(Input::Tick, at(world.now)) {
                if let Output::Connect { .. } = output {
                    dials.push(world.now);
                    world.proxy.handle(Input::Disconnected(why()), at(world.now));
                }
            }
        }
        dials.windows(2).map(|pair| pair[1] - pair[0]).max()
    };
    assert!(longest(&lost) <= Some(1_250));
    assert!(longest(&refused) > Some(2_000));
}

#[test]
fn a_query_is_answered_on_the_connection_of_now() {
    let mut world = World::new(None);
    let hello = world.welcome();
    assert_eq!(hello.features, [message::QUERY.into(), message::LIMITS.into()]);
    world.snapshot();
    world.seen.clear();
    let seen = || {
        Input::Seen(Upstreams {
            id: 7,
            list: Vec::new(),
            more: 3,
            traffic: None,
        })
    };
    world.lines(vec![Down::Query(Query { id: 7, about: None })]);
    assert_eq!(world.seen, ["look"], "nothing waits for it");
    world.give(seen());
    assert!(matches!(world.said.last(), Some(Up::Upstreams(answer)) if (answer.id, answer.more) == (7, 3)));
    world.give(Input::Stopping);
    world.give(Input::Drained);
    world.seen.clear();
    world.give(seen());
    assert_eq!(world.seen, [""; 0], "nothing follows a goodbye");
}

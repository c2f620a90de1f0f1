use super::*;
use crate::stream::fixture::{Log, at, hello, instance, level};
use crate::stream::message::State;
use crate::stream::planes::message::Hello;

fn own() -> PlaneId {
    PlaneId(instance(100))
}

fn hub(log: &Log) -> Hub {
    Hub::new(&log.state, &log.commits, Some(own()), at(0))
}

fn greeting(log: &Log) -> Input {
    Input::Line(Asked::Hello(Hello {
        id: PlaneId(instance(101)),
        epoch: log.state.epoch,
    }))
}

fn lines(output: Option<Output>) -> Vec<Told> {
    let Some(Output::Send(bytes)) = output else {
        return Vec::new();
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn only_another_one_on_the_same_store_is_told() {
    let log = Log::new();
    let hub = hub(&log);
    let mut teller = Teller::new(at(0));
    let hello = |id, epoch| Input::Line(Asked::Hello(Hello { id, epoch }));
    let itself = teller.handle(hello(own(), log.state.epoch), &hub, at(0));
    assert_eq!(itself, Some(Output::Refuse(Refusal::Itself)));
    let mut teller = Teller::new(at(0));
    let stranger = teller.handle(hello(PlaneId(instance(2)), Epoch(instance(77))), &hub, at(0));
    assert!(matches!(stranger, Some(Output::Refuse(Refusal::OtherEpoch { .. }))));
    let alone = Hub::new(&log.state, &log.commits, None, at(0));
    let mut teller = Teller::new(at(0));
    assert_eq!(
        teller.handle(greeting(&log), &alone, at(0)),
        Some(Output::Refuse(Refusal::Alone))
    );
    let mut teller = Teller::new(at(0));
    let early = teller.handle(Input::Line(Asked::Ping { sent: at(0) }), &hub, at(0));
    assert_eq!(early, Some(Output::Close));
}

#[test]
fn what_changes_while_a_buffer_is_written_is_told_once_and_as_it_stands() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.service("web");
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    let mut teller = Teller::new(at(0));
    assert_eq!(teller.handle(greeting(&log), &hub, at(0)), Some(Output::Accept));
    let first = lines(teller.handle(Input::Line(Asked::Ping { sent: at(5) }), &hub, at(0)));
    assert_eq!(first[0], Told::Welcome { id: own() });
    assert!(matches!(&first[1], Told::Holds { slot: 0, holding } if &*holding.name == "p" && holding.level.is_none()));
    assert_eq!(
        first[2],
        Told::Head {
            revision: log.state.revision
        }
    );
    assert_eq!(first[3], Told::Pong { sent: at(5) });
    let mut say = |applied| {
        let state = State {
            sent: at(1),
            level: Some(level(applied)),
        };
        hub.state(entered.slot, entered.session, state, at(1));
    };
    (1..5).for_each(&mut say);
    assert_eq!(teller.handle(Input::Wake, &hub, at(1)), None, "one buffer at a time");
    let second = lines(teller.handle(Input::Written, &hub, at(1)));
    assert!(
        matches!(&second[..], [Told::Holds { holding, .. }] if holding.level.as_ref().unwrap().applied == Revision(4))
    );
    let state = State {
        sent: at(2),
        level: Some(level(6)),
    };
    hub.state(entered.slot, entered.session, state, at(2));
    let third = lines(teller.handle(Input::Written, &hub, at(2)));
    let slots = vec![entered.slot.number()];
    assert_eq!(
        third,
        [Told::Advanced(Advanced {
            to: Revision(6),
            slots: slots.clone()
        })]
    );
    hub.farewell(entered.slot, entered.session, at(3));
    let fourth = lines(teller.handle(Input::Written, &hub, at(3)));
    assert_eq!(fourth, [Told::Released { slots }]);
}

#[test]
fn one_that_asks_nothing_any_more_is_left() {
    let log = Log::new();
    let mut hub = hub(&log);
    let mut teller = Teller::new(at(0));
    teller.handle(greeting(&log), &hub, at(0));
    (0..=11_000).step_by(250).for_each(|ms| hub.tick(at(ms)));
    assert_eq!(teller.handle(Input::Tick, &hub, at(11_000)), Some(Output::Close));
    assert!(teller.is_closed());
}

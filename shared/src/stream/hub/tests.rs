use super::*;
use crate::stream::fixture::{Log, at, hello, instance, level};
use crate::stream::message::State as Said;
use crate::stream::wait::Condition;

fn hub(log: &Log) -> Hub {
    Hub::new(&log.state, &log.commits, None, at(0))
}

fn known(log: &Log, name: &str) -> Hello {
    let mut hello = hello(name, instance(1), 1);
    hello.epoch = Some(log.state.epoch);
    hello.since = log.state.configured;
    hello.digest = log.state.digest;
    hello
}

fn said(applied: u64) -> Said {
    Said {
        sent: at(0),
        level: Some(level(applied)),
    }
}

fn applied(revision: u64) -> WaitSpec {
    WaitSpec {
        revision: Revision(revision),
        condition: Condition::Applied,
        objects: Vec::new(),
    }
}

#[test]
fn nobody_is_welcomed_before_its_join() {
    let mut log = Log::new();
    log.service("web");
    let mut hub = hub(&log);
    let hello = hello("p", instance(1), 1);
    assert_eq!(hub.enter(&hello, at(0)).unwrap_err(), Greeting::Join { replaces: None });
    hub.committed(&log.join("p", instance(1)), &log.state, at(1));
    let entered = hub.enter(&hello, at(1)).unwrap();
    assert_eq!(entered.welcome.head, Revision(1));
    assert_eq!(entered.offer.unwrap().revision, Revision(1));
}

#[test]
fn who_has_the_epoch_goes_on_and_a_herd_shares_a_snapshot() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.join("q", instance(2));
    log.service("web");
    let mut hub = hub(&log);
    assert!(hub.enter(&known(&log, "p"), at(0)).unwrap().offer.is_none());
    let first = hub.enter(&hello("q", instance(2), 1), at(0)).unwrap();
    hub.committed(&log.service("next"), &log.state, at(1));
    let second = hub.enter(&hello("q", instance(2), 2), at(1)).unwrap();
    assert_eq!((first.offer.clone(), first.cursor), (second.offer, second.cursor));
    assert_eq!(hub.offered_revision(), Revision(3));
    let later = hub.enter(&hello("q", instance(2), 3), at(60_000)).unwrap();
    assert_eq!(later.offer.unwrap().revision, Revision(4));
    // One that was found wrong is not resumed, and gets nothing older than it has.
    let mut wrong = known(&log, "p");
    wrong.resync = true;
    assert_eq!(
        hub.enter(&wrong, at(60_001)).unwrap().offer.unwrap().revision,
        Revision(4)
    );
}

#[test]
fn another_store_and_one_that_went_back_serve_nothing() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.service("web");
    let old = log.clone();
    log.service("next");
    let proxy = known(&log, "p");
    let ahead = Refusal::Ahead {
        since: Revision(3),
        head: Revision(2),
    };
    assert_eq!(hub(&old).enter(&proxy, at(0)).unwrap_err(), Greeting::Refuse(ahead));
    let mut grown = old.clone();
    grown.service("other");
    grown.service("another");
    let diverged = Refusal::Diverged { since: Revision(3) };
    assert_eq!(
        hub(&grown).enter(&proxy, at(0)).unwrap_err(),
        Greeting::Refuse(diverged)
    );
    let mut stranger = proxy.clone();
    stranger.epoch = Some(Epoch(instance(77)));
    let refused = hub(&log).enter(&stranger, at(0)).unwrap_err();
    assert!(matches!(refused, Greeting::Refuse(Refusal::OtherEpoch { .. })));
    log.put(Kind::Succession, &instance(77).to_string(), "{}");
    assert!(hub(&log).enter(&stranger, at(0)).unwrap().offer.is_some());
}

#[test]
fn an_acknowledgement_ends_the_waits_up_to_it() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    (0..3).for_each(|n| hub.committed(&log.service(&format!("s{n}")), &log.state, at(0)));
    let waits: Vec<WaitId> = [2, 3, 4].map(|r| hub.wait(applied(r), at(0)).unwrap()).into();
    // A revision of the roster asks for the configuration before it.
    hub.committed(&log.join("q", instance(2)), &log.state, at(0));
    assert!(hub.state(entered.slot, entered.session, said(3), at(1)));
    let ended: Vec<WaitId> = hub.take_news().finished.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ended, waits[..2]);
    hub.state(entered.slot, entered.session, said(4), at(2));
    assert_eq!(hub.take_news().finished[0].0, waits[2]);
    assert_eq!(hub.waiting(), 0);
    assert!(hub.give_up(waits[2], at(3)).is_none());
}

#[test]
fn a_proxy_may_claim_any_revision() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    for claimed in [u64::MAX, u64::MAX, 0] {
        assert!(hub.state(entered.slot, entered.session, said(claimed), at(1)));
    }
}

#[test]
fn a_goodbye_takes_a_member_out_of_every_wait() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.join("q", instance(2));
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    hub.committed(&log.service("web"), &log.state, at(0));
    hub.wait(applied(3), at(0)).unwrap();
    hub.state(entered.slot, entered.session, said(3), at(1));
    assert!(hub.take_news().finished.is_empty());
    hub.committed(&log.leave("q", true), &log.state, at(2));
    let report = hub.take_news().finished.remove(0).1;
    assert_eq!((report.reached, report.members, report.reached_count), (true, 1, 1));
}

#[test]
fn a_pause_ends_no_lease() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.join("q", instance(2));
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    hub.committed(&log.service("web"), &log.state, at(0));
    hub.state(entered.slot, entered.session, said(3), at(0));
    // Asleep for a minute; the first thing heard is a write, and q may be serving.
    assert!(hub.wait(applied(3), at(60_000)).is_ok());
    hub.tick(at(60_001));
    assert!(hub.take_news().finished.is_empty());
}

#[test]
fn a_new_epoch_begins_every_stream_anew() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut hub = hub(&log);
    let entered = hub.enter(&hello("p", instance(1), 1), at(0)).unwrap();
    let commit = log.put(Kind::Service, "web", "{}");
    log.state.epoch = Epoch(instance(5));
    hub.committed(&commit, &log.state, at(1));
    assert_eq!(hub.take_news().closed, [entered.session]);
    assert_eq!(hub.epoch(), Epoch(instance(5)));
}

#[test]
fn the_fleet_is_shown() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.service("web");
    let mut hub = hub(&log);
    let entered = hub.enter(&known(&log, "p"), at(0)).unwrap();
    hub.state(entered.slot, entered.session, said(2), at(0));
    hub.committed(&log.join("q", instance(2)), &log.state, at(0));
    let shown = serde_json::to_value(hub.members(at(0))).unwrap();
    assert_eq!(
        (&shown[0]["state"], &shown[0]["applied"], &shown[0]["lag"]),
        (&"present".into(), &3.into(), &0.into())
    );
    assert_eq!(
        (&shown[1]["name"], &shown[1]["state"], &shown[1]["lag"]),
        (&"q".into(), &"absent".into(), &3.into())
    );
    assert_eq!(shown[0]["lease"], "10s");
    // What it held at 3 it still holds: a change that it lacks takes nothing back.
    hub.committed(&log.service("other"), &log.state, at(0));
    let shown = serde_json::to_value(hub.members(at(0))).unwrap();
    assert_eq!((&shown[0]["applied"], &shown[0]["lag"]), (&3.into(), &1.into()));
}

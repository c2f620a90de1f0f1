use super::*;
use crate::stream::fixture::{LEASE, Log, at, hello, instance, level};

const END: u64 = 12_000;

fn roster(log: &Log) -> Roster {
    Roster::new(&log.state, &log.commits, Planes::default(), at(0))
}

/// Ticks so often that no pause is seen.
fn run(roster: &mut Roster, from: u64, to: u64) {
    (from..=to).step_by(250).for_each(|ms| roster.tick(at(ms)));
}

fn member(name: &str, roster: &Roster) -> (Slot, bool) {
    let (slot, peer) = roster.member(name).unwrap();
    (slot, peer.is_connected())
}

#[test]
fn a_restart_replaces_its_last_life_at_once_and_an_impostor_waits() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    let (slot, first) = roster.attach(&hello("p", instance(1), 7), at(0)).unwrap();
    assert_eq!(roster.admit(&hello("p", instance(1), 8), at(1)), Admission::Member);
    let (_, second) = roster.attach(&hello("p", instance(1), 8), at(1)).unwrap();
    assert_eq!(roster.take_events(), [RosterEvent::Closed(first)]);
    assert!(!roster.holds(slot, first) && roster.holds(slot, second));
    assert_eq!(
        roster.admit(&hello("p", instance(1), 7), at(2)),
        Admission::OlderBoot { known: 8 }
    );
    let held = roster.admit(&hello("p", instance(2), 1), at(1_001));
    assert_eq!(
        held,
        Admission::Held {
            wait: Duration::from_millis(END - 1_000)
        }
    );
    run(&mut roster, 1_001, 1 + END);
    let free = roster.admit(&hello("p", instance(2), 1), at(1 + END));
    assert_eq!(
        free,
        Admission::Join {
            replaces: Some(instance(1))
        }
    );
}

#[test]
fn what_a_last_life_reported_does_not_speak_for_the_next() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    let (slot, session) = roster.attach(&hello("p", instance(1), 1), at(0)).unwrap();
    roster.heard(slot, session, Some(level(5)), at(1)).unwrap();
    roster.attach(&hello("p", instance(1), 1), at(2)).unwrap();
    assert!(roster.peer(slot).unwrap().level().is_some());
    // The old connection speaks no more.
    assert_eq!(roster.heard(slot, session, Some(level(9)), at(3)), None);
    roster.attach(&hello("p", instance(1), 2), at(4)).unwrap();
    assert!(roster.peer(slot).unwrap().level().is_none());
}

#[test]
fn a_lease_runs_from_what_was_heard_and_anew_after_a_pause() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    let (slot, session) = roster.attach(&hello("p", instance(1), 1), at(0)).unwrap();
    run(&mut roster, 0, 5_000);
    roster.heard(slot, session, None, at(5_000)).unwrap();
    run(&mut roster, 5_000, 5_000 + END - 1);
    assert!(!roster.is_detached(roster.peer(slot).unwrap(), at(5_000 + END - 1)));
    assert!(roster.is_detached(roster.peer(slot).unwrap(), at(5_000 + END)));
    // Nobody ran for a minute: whatever was said meanwhile is still to be read.
    roster.pulse(at(80_000));
    assert!(!roster.is_detached(roster.peer(slot).unwrap(), at(80_000)));
}

#[test]
fn after_a_start_every_member_may_be_serving() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    run(&mut roster, 0, END - 1);
    let (_, peer) = roster.member("p").unwrap();
    assert!(!roster.is_detached(peer, at(END - 1)) && roster.is_detached(peer, at(END)));
}

#[test]
fn one_that_was_removed_is_remembered_unless_it_said_goodbye() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.join("q", instance(2));
    let mut roster = roster(&log);
    let (p, session) = roster.attach(&hello("p", instance(1), 1), at(0)).unwrap();
    let (q, _) = member("q", &roster);
    roster.committed(&log.leave("p", false), at(0));
    roster.committed(&log.leave("q", true), at(0));
    assert_eq!(
        roster.take_events(),
        [RosterEvent::Closed(session), RosterEvent::Gone(q)]
    );
    assert!(roster.member("p").is_none() && roster.peer(p).is_some() && roster.peer(q).is_none());
    run(&mut roster, 0, 5_000 + END - 1);
    assert!(roster.peer(p).is_some());
    roster.tick(at(5_000 + END));
    assert_eq!(roster.take_events(), [RosterEvent::Gone(p)]);
}

#[test]
fn a_start_remembers_who_was_removed_in_the_tail() {
    let mut log = Log::new();
    log.join("p", instance(1));
    log.join("q", instance(2));
    log.leave("p", false);
    log.leave("q", true);
    for tail in [&log.commits[..], &log.commits[2..]] {
        let roster = Roster::new(&log.state, tail, Planes::default(), at(0));
        let names: Vec<&str> = roster.peers().map(|(_, peer)| &**peer.name()).collect();
        assert_eq!((names, roster.members().len()), (vec!["p"], 0));
    }
}

#[test]
fn who_returns_was_never_away_for_a_write() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    roster.committed(&log.leave("p", false), at(0));
    log.service("web");
    assert_eq!(
        roster.admit(&hello("p", instance(1), 1), at(1)),
        Admission::Join { replaces: None }
    );
    roster.committed(&log.join("p", instance(1)), at(1));
    assert_eq!(roster.member("p").unwrap().1.member_since(), Revision(1));
    // Another instance is another member, and the first is still remembered.
    roster.committed(&log.join("p", instance(9)), at(2));
    assert_eq!((roster.members().len(), roster.peers().count()), (1, 2));
}

#[test]
fn a_changed_lease_is_committed_first() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    let mut longer = hello("p", instance(1), 1);
    longer.lease_ms = 60_000;
    assert_eq!(roster.admit(&longer, at(0)), Admission::Join { replaces: None });
}

#[test]
fn only_the_absent_are_forgotten() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    assert_eq!(roster.forget("nobody", at(0)), Forget::Absent);
    let (slot, session) = roster.attach(&hello("p", instance(1), 1), at(0)).unwrap();
    assert_eq!(roster.forget("p", at(0)), Forget::Present);
    roster.detach(slot, session, at(100));
    assert_eq!(
        roster.forget("p", at(100)),
        Forget::Within(LEASE + MARGIN - Duration::from_millis(100))
    );
    run(&mut roster, 100, END);
    assert_eq!(roster.forget("p", at(END)), Forget::Now { instance: instance(1) });
    assert!(roster.forgotten(Duration::from_secs(60), at(END)).is_empty());
    run(&mut roster, END, 60_100);
    assert_eq!(roster.forgotten(Duration::from_secs(60), at(60_100)).len(), 1);
}

#[test]
fn a_goodbye_that_is_outrun_by_a_restart_is_none() {
    let mut log = Log::new();
    log.join("p", instance(1));
    let mut roster = roster(&log);
    let (slot, session) = roster.attach(&hello("p", instance(1), 1), at(0)).unwrap();
    roster.farewell(slot, session, at(0));
    // The join of the next life queues behind the goodbye.
    assert_eq!(
        roster.admit(&hello("p", instance(1), 2), at(1)),
        Admission::Join { replaces: None }
    );
    // The store took its time, and the next life has begun.
    assert_eq!(roster.admit(&hello("p", instance(1), 2), at(5_000)), Admission::Member);
    roster.attach(&hello("p", instance(1), 2), at(5_000)).unwrap();
    roster.committed(&log.leave("p", true), at(5_001));
    assert!(roster.peer(slot).is_some_and(|peer| !peer.is_member()));
}

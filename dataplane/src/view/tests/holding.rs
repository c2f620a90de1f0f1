use super::*;
use crate::upstream::endpoint::Overtaken;
use crate::view::holding::WAITING_MAX;

fn world() -> (Arc<Views>, Registry, Arc<Endpoint>) {
    let views = Views::new(2);
    let mut registry = Registry::web("least_request");
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    let endpoint = endpoint(&views, "a").unwrap();
    (views, registry, endpoint)
}

fn hold(registry: &mut Registry) {
    registry.put(Kind::Hold, "web", r#"{"max":"30s"}"#);
}

/// The holds in force, as their revisions, and what is busy.
fn level(views: &Views) -> Vec<(u64, Vec<(String, u64)>)> {
    let held = views.held().into_iter().map(|held| {
        let busy = held.busy.iter().map(|one| (one.id.to_string(), one.in_flight));
        (held.revision.0, busy.collect())
    });
    held.collect()
}

#[test]
fn a_hold_is_quiet_once_the_last_guard_is_dropped() {
    let (views, mut registry, endpoint) = world();
    let guard = endpoint.clone().enter().confirm().ok().unwrap();
    let entered = endpoint.clone().enter();
    hold(&mut registry);
    registry.deploy(&views);
    assert_eq!(
        level(&views),
        [(3, vec![("a".to_owned(), 2)])],
        "who has entered counts"
    );
    assert_eq!(entered.confirm().err(), Some(Overtaken::Held));
    assert_eq!(endpoint.clone().enter().confirm().err(), Some(Overtaken::Held));
    assert!(!endpoint.is_retired() && views.draining().is_empty());

    let mut changed = views.changed();
    changed.mark_unchanged();
    drop(guard);
    assert!(changed.has_changed().unwrap());
    assert_eq!(level(&views), [(3, vec![])]);
    registry.delete(Kind::Hold, "web");
    registry.deploy(&views);
    assert_eq!(level(&views), []);
    assert!(endpoint.enter().confirm().is_ok());
}

#[test]
fn health_checks_go_on_and_are_not_waited_for() {
    let (views, mut registry, endpoint) = world();
    hold(&mut registry);
    registry.deploy(&views);
    let check = endpoint.clone().enter_to_check().confirm().ok().unwrap();
    assert_eq!(level(&views), [(3, vec![])]);
    // Whoever retires it does wait for it.
    registry.delete(Kind::Upstream, "web/a");
    registry.deploy(&views);
    assert_eq!(views.draining().len(), 1);
    drop(check);
    assert_eq!((views.draining(), level(&views)), (vec![], vec![(3, vec![])]));
}

#[test]
fn what_comes_while_it_is_held_is_held() {
    let (views, mut registry, _) = world();
    hold(&mut registry);
    registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
    registry.deploy(&views);
    let new = |id| endpoint(&views, id).unwrap().enter().confirm().err();
    assert_eq!(new("b"), Some(Overtaken::Held));
    registry.upstream("c", r#"{"address":"127.0.0.1:3"}"#);
    registry.deploy(&views);
    assert_eq!(new("c"), Some(Overtaken::Held));
}

#[test]
fn a_hold_is_of_a_service_that_is_there() {
    let (views, mut registry, gone) = world();
    hold(&mut registry);
    registry.deploy(&views);
    registry.delete(Kind::Upstream, "web/a");
    registry.delete(Kind::Service, "web");
    registry.deploy(&views);
    assert_eq!(level(&views), [], "there is nothing to hold");
    assert_eq!(gone.enter().confirm().err(), Some(Overtaken::Retired));
    registry.service("web", r#"{"match":[{}]}"#);
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    let new = endpoint(&views, "a").unwrap().enter().confirm().err();
    assert_eq!((level(&views).len(), new), (1, Some(Overtaken::Held)));
}

#[test]
fn both_in_one_batch_are_no_hold() {
    let (views, mut registry, endpoint) = world();
    hold(&mut registry);
    registry.delete(Kind::Hold, "web");
    registry.deploy(&views);
    assert_eq!(level(&views), []);
    assert!(endpoint.enter().confirm().is_ok());
}

#[test]
fn its_time_is_counted_from_its_own_revision() {
    let (views, mut registry, endpoint) = world();
    let held = || endpoint.clone().enter().confirm().is_err();
    let began = Instant::now();
    let later = |seconds| began + Duration::from_secs(seconds);
    hold(&mut registry);
    views.retire_at(registry.swap(&views), began);
    assert_eq!(views.end_overdue(later(29)), Some(later(30)));

    // A change of something else leaves it as it is, a renewal does not.
    registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
    views.retire_at(registry.swap(&views), later(10));
    assert_eq!(views.end_overdue(later(29)), Some(later(30)));
    hold(&mut registry);
    views.retire_at(registry.swap(&views), later(20));
    assert_eq!(views.end_overdue(later(49)), Some(later(50)));
    assert!(held());

    let mut changed = views.changed();
    changed.mark_unchanged();
    assert_eq!(views.end_overdue(later(50)), None);
    assert!(!held() && changed.has_changed().unwrap());
    assert_eq!(level(&views), [], "it is in the table, and not in force");
    registry.upstream("c", r#"{"address":"127.0.0.1:3"}"#);
    views.retire_at(registry.swap(&views), later(51));
    assert!(!held(), "nor does it begin again");
    // In a whole table the same revision may be another hold.
    views.retire_at(views.swap(registry.table()), later(60));
    assert!(held());
    assert_eq!(views.end_overdue(later(61)), Some(later(90)));
}

#[test]
fn as_many_wait_as_may() {
    let holding = Holding::default();
    let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| holding.join().unwrap()).collect();
    assert!(holding.join().is_none());
    waiting.pop();
    assert!(holding.join().is_some());
    drop(waiting);
    assert_eq!(holding.waiting(), 0);
}

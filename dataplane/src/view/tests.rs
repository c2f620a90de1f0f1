mod holding;
mod moving;

use std::time::Duration;

use shared::change::Kind;
use shared::model::UpstreamId;

use super::*;
use crate::fixture::Registry;

fn endpoint(views: &Views, id: &str) -> Option<Arc<Endpoint>> {
    let view = views.now();
    let web = ServiceName::try_from("web").unwrap();
    let id = UpstreamId::try_from(id).unwrap();
    view.pool(&web)?.endpoint(&id).cloned()
}

fn ids(left: &LeftOut) -> Vec<String> {
    left.identities().map(|identity| identity.id.to_string()).collect()
}

#[test]
fn a_swap_keeps_the_endpoints_whose_identity_it_keeps() {
    let views = Views::new(2);
    let mut registry = Registry::web("least_request");
    let a = registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
    assert!(registry.swap(&views).is_empty());
    let (first_a, first_b) = (endpoint(&views, "a").unwrap(), endpoint(&views, "b").unwrap());

    registry.change("a", a, r#"{"address":"127.0.0.1:1","weight":7}"#);
    registry.service("web", r#"{"match":[{}],"balance":"random"}"#);
    assert!(registry.swap(&views).is_empty());
    assert!(
        Arc::ptr_eq(&first_a, &endpoint(&views, "a").unwrap()),
        "a weight is no identity"
    );

    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    assert_eq!(ids(&registry.swap(&views)), ["a"], "a new registration is one");
    assert!(!Arc::ptr_eq(&first_a, &endpoint(&views, "a").unwrap()));
    assert!(Arc::ptr_eq(&first_b, &endpoint(&views, "b").unwrap()));
}

#[test]
fn what_drains_is_not_selectable_and_comes_back_as_another() {
    let views = Views::new(1);
    let mut registry = Registry::web("least_request");
    let first = registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    let old = endpoint(&views, "a").unwrap();
    registry.change("a", first, r#"{"address":"127.0.0.1:1","state":"draining"}"#);
    let left = registry.swap(&views);
    assert_eq!(ids(&left), ["a"]);
    assert!(endpoint(&views, "a").is_none());
    views.retire(left);
    assert!(old.is_retired() && old.retired_token().is_cancelled());

    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    assert!(registry.swap(&views).is_empty());
    let new = endpoint(&views, "a").unwrap();
    assert!(!new.is_retired() && new.identity().registration > first);
}

#[test]
fn the_end_of_a_service_leaves_all_its_upstreams_out() {
    let views = Views::new(1);
    let mut registry = Registry::web("least_request");
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
    registry.deploy(&views);
    registry.delete(Kind::Upstream, "web/a");
    registry.delete(Kind::Upstream, "web/b");
    registry.delete(Kind::Service, "web");
    assert_eq!(ids(&registry.swap(&views)), ["a", "b"]);
    assert_eq!(views.now().pools().count(), 0);
}

#[test]
fn a_whole_table_is_compared_with_the_one_before() {
    let views = Views::new(1);
    let mut registry = Registry::web("least_request");
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.upstream("b", r#"{"address":"127.0.0.1:2"}"#);
    assert!(views.swap(registry.table()).is_empty());
    let kept = endpoint(&views, "a").unwrap();
    registry.delete(Kind::Upstream, "web/b");
    registry.service("other", r#"{"match":[{"hosts":["other"]}]}"#);
    assert_eq!(ids(&views.swap(registry.table())), ["b"]);
    assert!(Arc::ptr_eq(&kept, &endpoint(&views, "a").unwrap()));
    assert_eq!(views.now().pools().count(), 2);
    assert_eq!(ids(&views.swap(Table::default())), ["a"]);
}

#[test]
fn an_identity_drains_until_the_last_guard_is_dropped() {
    let views = Views::new(2);
    let mut registry = Registry::web("least_request");
    let registration = registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    let endpoint = endpoint(&views, "a").unwrap();
    let one = endpoint.clone().enter().confirm().ok().unwrap();
    let two = endpoint.clone().enter().confirm().ok().unwrap();
    assert!(views.draining().is_empty());

    let mut changed = views.changed();
    changed.mark_unchanged();
    registry.delete(Kind::Upstream, "web/a");
    registry.deploy(&views);
    assert!(changed.has_changed().unwrap(), "an identity began to drain");
    changed.mark_unchanged();
    let level = views.draining();
    assert_eq!(
        (level.len(), level[0].in_flight, level[0].registration),
        (1, 2, registration)
    );
    assert_eq!(
        (&*level[0].service, &*level[0].id, &*level[0].address),
        ("web", "a", "127.0.0.1:1")
    );
    assert!(endpoint.clone().enter().confirm().is_err(), "nobody enters any more");

    drop(one);
    assert!(!changed.has_changed().unwrap(), "the set is the same");
    assert_eq!(views.draining()[0].in_flight, 1);
    // The guard counts down where it counted up, on whatever thread it ends.
    std::thread::spawn(move || drop(two)).join().unwrap();
    assert!(changed.has_changed().unwrap());
    assert!(views.draining().is_empty());
}

#[tokio::test]
async fn the_end_of_the_last_request_is_never_missed() {
    const THREADS: usize = 3;
    let views = Views::new(THREADS - 1);
    let mut registry = Registry::web("least_request");
    for round in 0..300 {
        registry.upstream("a", &format!(r#"{{"address":"127.0.0.1:{}"}}"#, 1 + round % 2));
        registry.deploy(&views);
        let endpoint = endpoint(&views, "a").unwrap();
        let threads: Vec<_> = (0..THREADS)
            .map(|index| {
                let guards: Vec<_> = (0..4)
                    .map(|_| endpoint.clone().enter().confirm().ok().unwrap())
                    .collect();
                std::thread::spawn(move || {
                    crate::upstream::inflight::count_as_worker(index);
                    guards.into_iter().for_each(drop);
                })
            })
            .collect();
        // Some end before the retirement, some while it goes on, some after it.
        let mut changed = views.changed();
        registry.delete(Kind::Upstream, "web/a");
        registry.deploy(&views);
        while !views.draining().is_empty() {
            let told = tokio::time::timeout(Duration::from_secs(60), changed.changed());
            told.await.expect("the signal was missed").unwrap();
        }
        assert_eq!(endpoint.in_flight(), 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn nothing_in_flight_never_drains() {
    let views = Views::new(1);
    let mut registry = Registry::web("least_request");
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    registry.delete(Kind::Upstream, "web/a");
    registry.deploy(&views);
    assert!(views.draining().is_empty());
}

#[test]
fn what_drains_for_too_long_is_cut() {
    let views = Views::new(1);
    let mut registry = Registry::web("least_request");
    registry.service("web", r#"{"match":[{}],"timeouts":{"drain":"90s"}}"#);
    registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    registry.deploy(&views);
    let endpoint = endpoint(&views, "a").unwrap();
    let guard = endpoint.clone().enter().confirm().ok().unwrap();
    assert_eq!(views.cut_overdue(Instant::now()), None);
    registry.delete(Kind::Upstream, "web/a");
    registry.deploy(&views);

    let now = Instant::now();
    let due = views.cut_overdue(now).unwrap();
    assert!(due > now + Duration::from_secs(80) && due <= now + Duration::from_secs(90));
    assert!(!endpoint.cut_token().is_cancelled());
    assert_eq!(views.cut_overdue(due), None);
    assert!(endpoint.cut_token().is_cancelled());
    assert_eq!(views.draining().len(), 1, "it drains until it really ended");
    drop(guard);
    assert!(views.draining().is_empty());
}

#[test]
fn a_reader_sees_each_swap() {
    let views = Views::new(1);
    let reader = views.reader();
    let mut registry = Registry::web("least_request");
    assert_eq!(reader.with(|view| view.pools().count()), 0);
    registry.deploy(&views);
    assert_eq!(reader.with(|view| view.pools().count()), 1);
}

#[test]
fn it_is_told_when_what_was_admitted_may_not_be_any_more() {
    let views = Views::new(1);
    let mut registry = Registry::web("random");
    for (kind, key, body, expected) in [
        (Kind::Authorizer, "main", Some(r#"{"service":"web"}"#), true),
        (Kind::Upstream, "web/a", Some(r#"{"address":"127.0.0.1:1"}"#), false),
        (Kind::Upstream, "web/a", None, false),
        (Kind::Service, "other", Some(r#"{"match":[]}"#), false),
        (Kind::Revocation, "main", Some("{}"), true),
        (Kind::Authorizer, "main", Some(r#"{"service":"other"}"#), true),
        (
            Kind::Service,
            "web",
            Some(r#"{"match":[{}],"deny":["10.0.0.0/8"]}"#),
            true,
        ),
        (Kind::Authorizer, "main", None, true),
        (Kind::Service, "other", None, true),
    ] {
        match body {
            Some(body) => registry.put(kind.clone(), key, body),
            None => registry.delete(kind.clone(), key),
        }
        let left = registry.swap(&views);
        assert_eq!(left.has_admissions(), expected, "{kind:?} {key} {body:?}");
        views.retire(left);
    }
    let whole = views.swap(registry.table());
    assert!(whole.has_admissions());
    views.retire(whole);
}

#[test]
fn a_change_of_limits_is_behind_the_barrier_and_nothing_else_is_for_them() {
    let views = Views::new(1);
    let mut registry = Registry::web("random");
    registry.deploy(&views);
    let mut waits = |change: &dyn Fn(&mut Registry)| {
        change(&mut registry);
        registry.swap(&views).has_admissions()
    };
    let id = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
    assert!(waits(&|registry| registry.put(Kind::Limit, id, r#"{"threshold":1}"#)));
    assert!(waits(&|registry| registry.put(Kind::Limit, id, r#"{"threshold":2}"#)));
    assert!(!waits(&|registry| {
        registry.upstream("a", r#"{"address":"127.0.0.1:1"}"#);
    }));
    assert!(waits(&|registry| registry.delete(Kind::Limit, id)));
}

//! An upstream of a service with a health check moves to another address: the old one serves on until the new one is well.

use super::*;
use crate::fixture::{admit, meta};
use crate::pipeline::{Tried, choose};
use crate::upstream::health::Checked;

const CHECKED: &str = r#"{"match":[{}],"health_check":{"path":"/up"}}"#;

struct World {
    views: Arc<Views>,
    registry: Registry,
}

impl World {
    /// An upstream `a` at port 1, of a service that checks.
    fn new() -> World {
        let mut world = World {
            views: Views::new(1),
            registry: Registry::default(),
        };
        world.registry.service("web", CHECKED);
        world.moves_to(1);
        world
    }

    fn moves_to(&mut self, port: u16) {
        self.puts(&format!(r#"{{"address":"127.0.0.1:{port}"}}"#));
    }

    fn puts(&mut self, body: &str) {
        self.registry.upstream("a", body);
        self.registry.deploy(&self.views);
    }

    fn passes(&self) {
        let current = endpoint(&self.views, "a").unwrap();
        current.health().set_checked(Checked::Passed);
        self.views.hand_over();
    }

    /// The port that the next request goes to; none: it is refused.
    fn chosen(&self) -> Option<u16> {
        let view = self.views.now();
        let admitted = admit(&view, &meta("/")).ok()?;
        let chosen = choose(&view, &admitted, &Tried::default()).ok()?;
        Some(port(chosen.identity().address.as_str()))
    }

    /// The ports of what is said to drain, each with what is in flight.
    fn draining(&self) -> Vec<(u16, u64)> {
        let level = self.views.draining().into_iter();
        level.map(|one| (port(&one.address), one.in_flight)).collect()
    }

    fn warms(&self) -> bool {
        !self.views.checks().warming().is_empty()
    }
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_old_address_serves_until_the_new_one_is_well_and_then_drains() {
    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    let request = old.clone().enter().confirm().ok().unwrap();
    world.moves_to(2);
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![(1, 1)]));
    assert!(world.warms() && !old.is_retired());
    drop(request);
    assert_eq!(world.draining(), [(1, 0)], "idle, and still served");
    world.views.hand_over();
    assert_eq!(world.draining(), [(1, 0)], "nobody has passed");

    let request = old.clone().enter().confirm().ok().unwrap();
    world.passes();
    assert_eq!((world.chosen(), world.draining()), (Some(2), vec![(1, 1)]));
    assert!(old.is_retired() && old.enter().confirm().is_err());
    drop(request);
    assert_eq!((world.draining(), world.warms()), (vec![], false));
}

#[test]
fn a_move_from_what_never_was_well_goes_on_with_what_was() {
    let mut world = World::new();
    world.moves_to(2);
    let never_well = endpoint(&world.views, "a").unwrap();
    world.moves_to(3);
    assert!(never_well.is_retired());
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![(1, 0)]));
    // A change that moves nothing leaves it as it is.
    let current = endpoint(&world.views, "a").unwrap();
    let registration = current.identity().registration;
    world
        .registry
        .change("a", registration, r#"{"address":"127.0.0.1:3","weight":7}"#);
    world.registry.deploy(&world.views);
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![(1, 0)]));
    // Back to where it was: another registration, that must be well as any.
    world.moves_to(1);
    assert_eq!(world.draining(), [(1, 0)]);
    world.passes();
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![]));
    assert!(current.is_retired());
}

#[test]
fn whoever_ends_it_ends_both() {
    for (kind, key, body) in [
        (Kind::Upstream, "web/a", None),
        (Kind::Service, "web", Some(r#"{"match":[{}]}"#)),
        (Kind::Upstream, "web/a", Some(r#"{"address":"127.0.0.1:2","weight":0}"#)),
        (
            Kind::Upstream,
            "web/a",
            Some(r#"{"address":"127.0.0.1:2","state":"draining"}"#),
        ),
    ] {
        let mut world = World::new();
        let old = endpoint(&world.views, "a").unwrap();
        world.moves_to(2);
        assert!(!old.is_retired());
        match body {
            Some(body) => world.registry.put(kind, key, body),
            None => world.registry.delete(kind, key),
        }
        world.registry.deploy(&world.views);
        assert!(old.is_retired(), "{key} {body:?}");
        assert_eq!(world.draining(), [], "{key} {body:?}");
    }
}

#[test]
fn only_a_service_that_checks_hands_over() {
    let mut world = World::new();
    world.registry.service("web", r#"{"match":[{}]}"#);
    world.moves_to(2);
    assert_eq!((world.chosen(), world.draining()), (Some(2), vec![]));

    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    old.health().set_checked(Checked::Failed);
    world.moves_to(2);
    assert_eq!(world.chosen(), Some(2), "nothing else is left");
    // It is unwell for a moment.
    old.health().set_checked(Checked::Passed);
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![(1, 0)]));
    world.passes();
    assert_eq!((world.chosen(), world.draining()), (Some(2), vec![]));
    assert!(old.is_retired());

    // It dies while it serves on: what warms is better than nothing.
    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    world.moves_to(2);
    old.health().set_checked(Checked::Failed);
    assert_eq!(world.chosen(), Some(2));
}

/// Whoever unregistered it waits for its end, though its name came back before this proxy heard of either.
#[test]
fn what_was_unregistered_serves_on_for_nobody() {
    for ends in [None, Some(r#"{"address":"127.0.0.1:1","state":"draining"}"#)] {
        let mut world = World::new();
        let old = endpoint(&world.views, "a").unwrap();
        match ends {
            Some(body) => world.registry.change("a", old.identity().registration, body),
            None => world.registry.delete(Kind::Upstream, "web/a"),
        }
        world.moves_to(2);
        assert!(old.is_retired(), "{ends:?}");
    }
    // Two moves at once are one.
    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    world.registry.upstream("a", r#"{"address":"127.0.0.1:2"}"#);
    world.moves_to(3);
    assert!(!old.is_retired());
    assert_eq!(world.chosen(), Some(1));
}

#[test]
fn a_whole_table_with_the_same_registration_goes_on_with_the_hand_over() {
    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    world.moves_to(2);
    world.registry.service("other", r#"{"match":[]}"#);
    world.views.retire(world.views.swap(world.registry.table()));
    assert!(!old.is_retired());
    assert_eq!((world.chosen(), world.draining()), (Some(1), vec![(1, 0)]));
}

#[test]
fn a_hold_is_quiet_though_something_serves_on() {
    let mut world = World::new();
    let old = endpoint(&world.views, "a").unwrap();
    let request = old.clone().enter().confirm().ok().unwrap();
    world.moves_to(2);
    world.registry.put(Kind::Hold, "web", r#"{"max":"30s"}"#);
    world.registry.deploy(&world.views);
    assert!(old.clone().enter().confirm().is_err() && !old.is_retired());
    let mut changed = world.views.changed();
    changed.mark_unchanged();
    drop(request);
    assert!(changed.has_changed().unwrap());
    assert_eq!(world.draining(), [(1, 0)]);
}

#[test]
fn so_many_serve_on_at_a_time() {
    let mut world = World::new();
    let ids: Vec<String> = (0..FORMERS_MAX + 5).map(|n| format!("u{n}")).collect();
    for port in [1, 2] {
        for id in &ids {
            let body = format!(r#"{{"address":"127.0.0.1:{port}"}}"#);
            world.registry.upstream(id, &body);
        }
        if port == 1 {
            world.registry.deploy(&world.views);
            ids.iter().for_each(|id| {
                endpoint(&world.views, id)
                    .unwrap()
                    .health()
                    .set_checked(Checked::Passed)
            });
        }
    }
    world.registry.deploy(&world.views);
    assert_eq!(world.views.draining().len(), FORMERS_MAX);
}

//! How upstreams are, as the API tells it.

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::world::World;

use super::{Load, Server, health, listed, told};

/// Of all registrations at an address: the key of each, and what its status says.
async fn at(api: &Api, address: impl std::fmt::Display, more: &str) -> (Vec<String>, Value) {
    let path = format!("/v1/upstreams?address={address}&status=true{more}");
    let list = api.get(&path).await.expect(200).body;
    let items = list["items"].as_array().unwrap().iter();
    let line = |item: &Value| {
        let name = |member: &str| item[member].as_str().unwrap().to_owned();
        format!("{}/{}: {}", name("service"), name("id"), told(item).join(", "))
    };
    (items.map(line).collect(), list["next"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_seen_in_the_fleet_and_in_both_lists() {
    let world = World::new();
    let (control, fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let care = json!({"eject_after": 2, "eject_for": "1h"});
    api.service("web", json!({"upstream_care": care})).await;
    let check = json!({"path": "/up", "interval": "50ms", "healthy_after": 1, "unhealthy_after": 1});
    api.service("checked", json!({"health_check": check})).await;

    let (_well, well) = Server::start(200).await;
    let (_errors, errors) = Server::start(500).await;
    let (failing, fails) = Server::start(200).await;
    let (_slow, slow) = Server::start(503).await;
    let mut origin = world.origin("gone").await;
    for (service, id, address) in [
        ("web", "a", well),
        ("web", "b", well),
        ("web", "errors", errors),
        ("web", "gone", origin.address),
        ("checked", "a", well),
        ("checked", "fails", fails),
    ] {
        api.register(service, id, address).await;
    }
    let path = "/v1/services/checked/upstreams/slow?wait=applied";
    api.put(path, json!({"address": slow.to_string()})).await.live();
    failing.say(503);
    origin.kill();
    let load = Load::start(&fleet, "web");

    for (upstream, address, expected) in [
        ("web/a", well, "up"),
        ("web/errors", errors, "ejected"),
        ("web/gone", origin.address, "down"),
        ("checked/a", well, "up"),
        ("checked/fails", fails, "down"),
        ("checked/slow", slow, "warming"),
    ] {
        let (service, id) = upstream.split_once('/').unwrap();
        let line = format!("{upstream}: p1 {expected}");
        // One that takes no connections is up for a moment, each time that its pause is over.
        eventually("the fleet shows it", async || {
            health(&api, "p1", upstream).await == expected
        })
        .await;
        eventually("the list shows it", async || {
            listed(&api, service, id).await == [format!("p1 {expected}")]
        })
        .await;
        eventually("the address shows it", async || {
            at(&api, address, "").await.0.contains(&line)
        })
        .await;
    }

    // Every registration of an address, page by page.
    let (all, next) = at(&api, well, "").await;
    assert_eq!(all, ["checked/a: p1 up", "web/a: p1 up", "web/b: p1 up"]);
    assert_eq!(next, Value::Null);
    let (first, next) = at(&api, well, "&limit=2").await;
    assert_eq!(first, all[..2]);
    let cursor = format!("&limit=2&cursor={}", next.as_str().unwrap());
    assert_eq!(at(&api, well, &cursor).await.0, all[2..]);

    // What is not chosen among has no health.
    let path = "/v1/services/web/upstreams/b";
    api.patch(path, json!({"state": "draining"})).await.live();
    assert_eq!(listed(&api, "web", "b").await, ["p1 –"]);
    let path = format!("/v1/upstreams?address={well}&status=maybe");
    api.get(&path).await.problem(422, "invalid").blames("status");
    drop(load);
}

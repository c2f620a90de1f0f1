//! Upstreams that say themselves that they live, on fleets of real processes: whoever falls silent is unregistered and
//! drains, nobody else is, and what the control plane slept through is held against nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::beating::{Beating, expired, registration};
use vulcan_tests::eventually;
use vulcan_tests::metrics::Page;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const TTL: &str = "2s";
/// For what must not happen to happen.
const THREE_TTLS: Duration = Duration::from_secs(6);

fn path(id: &str) -> String {
    format!("/v1/services/web/upstreams/{id}")
}

/// Registers it, and repeats that from then on.
async fn alive(api: &Api, id: &str, body: &Value) -> Beating {
    api.put(&path(id), body.clone()).await.live();
    Beating::start(std::slice::from_ref(api), &path(id), body)
}

async fn registered(api: &Api) -> Vec<String> {
    let list = api.get("/v1/services/web/upstreams").await.expect(200).body;
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn head(api: &Api) -> u64 {
    api.get("/v1/fleet").await.body["head"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_is_unregistered_and_finishes_what_it_does() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let stay = registration(origin::inside("stay").await, TTL);
    let stays = [alive(&api, "a", &stay).await, alive(&api, "b", &stay).await];
    // Nothing but this one gets requests: the others have no weight.
    for id in ["a", "b"] {
        api.delete(&path(id)).await.live();
    }
    drop(stays);
    let stay = json!({"address": stay["address"], "ttl": TTL, "weight": 0});
    let stays = [alive(&api, "a", &stay).await, alive(&api, "b", &stay).await];
    let goes = alive(&api, "c", &registration(origin::inside("goes").await, TTL)).await;
    goes.more(3).await;
    let before = head(&api).await;
    let at = Api::new(proxies[0].http());
    let slow = tokio::spawn(async move {
        at.send(&Request::new("GET", "/bytes?n=10&head=6000", "web"))
            .await
            .status
    });
    goes.more(2).await;
    assert_eq!(head(&api).await, before, "renewals are no revisions");
    drop(goes);
    eventually("it is unregistered", async || registered(&api).await == ["a", "b"]).await;
    assert_eq!(slow.await.unwrap(), 200, "as by a DELETE, what was in flight finishes");
    assert_eq!(expired(&api).await, ["web/c"]);
    for stays in &stays {
        stays.more(5).await;
        assert!(stays.answers().iter().all(|(status, _)| *status == 200));
    }
    assert_eq!(expired(&api).await, ["web/c"], "nobody else");
    // It comes back by the very request that renewed it.
    let back = api
        .put(&path("c"), registration(origin::inside("goes").await, TTL))
        .await
        .live();
    assert!(back.revision() > before);
    assert_eq!(back.body["fleet"]["reached"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_says_what_it_renewed_and_waits_for_nothing() {
    let world = World::new();
    let (control, mut proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let body = registration(origin::inside("one").await, "1h");
    let first = api.put(&path("a"), body.clone()).await.live();
    assert_eq!(first.body["wait"]["for"], "applied");
    assert_eq!(api.get(&path("a")).await.body["ttl"], "1h");
    // The fleet cannot be asked: who repeats a registration need not know.
    proxies[0].freeze();
    let other = api.service("other", json!({}));
    drop(other);
    let again = api.put(&path("a"), body.clone()).await.live();
    assert_eq!((again.revision(), again.etag()), (first.revision(), first.etag()));
    assert_eq!(
        (&again.body["committed"], &again.body["wait"]["for"]),
        (&json!(true), &json!("none"))
    );
    assert_eq!(again.body["also_in"], json!([]));
    api.put(&format!("{}?wait=none", path("a")), body.clone())
        .await
        .expect(202);
    proxies[0].thaw();
    // Whoever asks to wait does; so does whoever changes something.
    let waited = api
        .put(&format!("{}?wait=applied", path("a")), body.clone())
        .await
        .live();
    assert_eq!(waited.body["fleet"]["reached"], 1);
    let patched = api.patch(&path("a"), json!({"ttl": "2h"})).await.live();
    assert!(patched.revision() > first.revision());
    assert_eq!(
        patched.body["wait"]["for"], "applied",
        "the same registration: nothing drains"
    );
    api.put(&path("a"), body).await.live();
    api.patch(&path("a"), json!({"ttl": null})).await.live();
    assert_eq!(api.get(&path("a")).await.body["ttl"], Value::Null);
    proxies[0].kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_leaves_what_an_operator_set() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let address = origin::inside("one").await;
    let body = registration(address, TTL);
    let beats = alive(&api, "a", &body).await;
    api.patch(&path("a"), json!({"state": "draining", "weight": 7}))
        .await
        .live();
    let drained = head(&api).await;
    beats.more(3).await;
    let shown = api.get(&path("a")).await.body;
    assert_eq!((&shown["state"], &shown["weight"]), (&json!("draining"), &json!(7)));
    assert_eq!(head(&api).await, drained, "they are renewals");
    // Another ttl changes that alone.
    drop(beats);
    api.put(&path("a"), registration(address, "1h")).await.live();
    let shown = api.get(&path("a")).await.body;
    assert_eq!((&shown["state"], &shown["ttl"]), (&json!("draining"), &json!("1h")));
    // What is said counts, and what is not has its default where either is no heartbeat, or is of another server.
    let said = json!({"address": address.to_string(), "ttl": "1h", "state": "active"});
    api.put(&path("a"), said).await.live();
    let shown = api.get(&path("a")).await.body;
    assert_eq!((&shown["state"], &shown["weight"]), (&json!("active"), &json!(7)));
    api.put(&path("a"), registration(origin::inside("two").await, "1h"))
        .await
        .live();
    assert_eq!(api.get(&path("a")).await.body["weight"], 1);
    api.patch(&path("a"), json!({"weight": 7, "ttl": null})).await.live();
    api.put(&path("a"), body).await.live();
    assert_eq!(api.get(&path("a")).await.body["weight"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_at_once_are_held_until_they_are_heard_again() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let body = registration(origin::inside("one").await, TTL);
    let mut all = Vec::new();
    for id in ["a", "b", "c", "d"] {
        all.push(alive(&api, id, &body).await);
    }
    all[3].more(2).await;
    assert_eq!(api.get("/v1/fleet").await.body["lapsed"], json!([]));
    let held = async || Page::scrape(&api).await.sum("vulcan_heartbeats_held", &[]);
    assert_eq!(held().await, 0.0);
    drop(all);
    eventually("they are held", async || {
        api.get("/v1/fleet").await.body["lapsed"] == json!([{"service": "web", "lapsed": 4, "of": 4}])
    })
    .await;
    tokio::time::sleep(THREE_TTLS).await;
    assert_eq!(registered(&api).await, ["a", "b", "c", "d"]);
    assert_eq!(held().await, 4.0);
    assert!(control.logged().contains("too many upstreams were not renewed at once"));
    let mut back = Vec::new();
    for id in ["a", "b", "c"] {
        back.push(alive(&api, id, &body).await);
    }
    // One that stays away alone is one that is gone.
    eventually("the fourth is unregistered", async || {
        registered(&api).await == ["a", "b", "c"]
    })
    .await;
    assert_eq!(api.get("/v1/fleet").await.body["lapsed"], json!([]));
    assert_eq!(expired(&api).await, ["web/d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_plane_slept_through_is_held_against_nobody() {
    let world = World::new();
    let (mut control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let body = registration(origin::inside("one").await, TTL);
    let stays = [alive(&api, "a", &body).await, alive(&api, "b", &body).await];
    api.put(&path("c"), body.clone()).await.live();
    control.kill();
    tokio::time::sleep(THREE_TTLS).await;
    control.start();
    control.ready().await;
    assert_eq!(registered(&api).await, ["a", "b", "c"]);
    assert_eq!(expired(&api).await, [""; 0]);
    // The one that says nothing has its time once more; the others go on.
    eventually("the silent one is unregistered", async || {
        registered(&api).await == ["a", "b"]
    })
    .await;
    // Stopped, it hears as little.
    control.freeze();
    tokio::time::sleep(THREE_TTLS).await;
    control.thaw();
    for stays in &stays {
        stays.more(8).await;
    }
    assert_eq!(expired(&api).await, ["web/c"]);
    assert_eq!(registered(&api).await, ["a", "b"]);
}

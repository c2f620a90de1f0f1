//! Health checks.

use std::sync::atomic::Ordering;

use serde_json::json;
use vulcan_tests::world::World;

use super::{Load, Server, health, listed};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_starter_gets_requests_once_it_is_well_everywhere() {
    let world = World::new();
    let (control, fleet) = world.fleet(3, &[]).await;
    let api = control.api();
    api.service("web", json!({"health_check": {"path": "/up", "interval": "100ms"}}))
        .await;
    let (_old, old_address) = Server::start(200).await;
    let first = api.register("web", "old", old_address).await;
    assert_eq!(first.body["wait"]["for"], "healthy");
    let load = Load::start(&fleet, "web");

    let (slow, slow_address) = Server::start(503).await;
    let path = "/v1/services/web/upstreams/slow";
    let body = json!({"address": slow_address.to_string()});
    let early = api.put(&format!("{path}?timeout=2500ms"), body.clone()).await;
    let early = early.problem(504, "wait-not-reached");
    let warming = early.body["fleet"]["warming"].as_array().unwrap();
    let told = |proxy: &str| json!({"proxy": proxy, "upstream": "web/slow", "last": "status 503"});
    assert_eq!(*warming, ["p1", "p2", "p3"].map(told));
    assert_eq!(health(&api, "p1", "web/slow").await, "warming");
    assert_eq!(
        listed(&api, "web", "slow").await,
        ["p1 warming", "p2 warming", "p3 warming"]
    );
    assert_eq!(listed(&api, "web", "old").await, ["p1 up", "p2 up", "p3 up"]);
    assert_eq!(slow.served.load(Ordering::SeqCst), 0, "there is another one");

    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.put(path, body).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "nobody has seen it well");
    slow.say(200);
    let live = waiting.await.unwrap().live();
    assert_eq!(live.body["wait"]["for"], "healthy");
    api.delete("/v1/services/web/upstreams/old").await.live();
    assert_eq!(health(&api, "p2", "web/slow").await, "up");
    vulcan_tests::eventually("it serves", async || slow.served.load(Ordering::SeqCst) > 0).await;

    // The only one moves to a server that is not checked yet.
    let (_new, new_address) = Server::start(200).await;
    let moved = api.put(path, json!({"address": new_address.to_string()})).await.live();
    assert_eq!(moved.body["wait"]["for"], "drained");
    let (requests, failures) = load.end().await;
    assert!(requests > 100, "{requests}");
    assert!(
        failures.is_empty(),
        "{} of {requests}, such as {}",
        failures.len(),
        failures[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_fail_take_an_upstream_out_and_it_comes_back() {
    let world = World::new();
    let (control, fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let check = json!({"path": "/up", "interval": "50ms", "unhealthy_after": 2});
    let care = json!({"eject_after": 0});
    api.service("web", json!({"health_check": check, "upstream_care": care}))
        .await;
    let ((one, first), (_two, second)) = (Server::start(200).await, Server::start(200).await);
    api.register("web", "one", first).await;
    api.register("web", "two", second).await;
    one.say(503);
    vulcan_tests::eventually("it is down", async || health(&api, "p1", "web/one").await == "down").await;
    let load = Load::start(&fleet, "web");
    let served = one.served.load(Ordering::SeqCst);
    // Whatever becomes of the table, what is known of its health stays.
    for weight in 2..8 {
        let body = json!({"address": second.to_string(), "weight": weight});
        api.put("/v1/services/web/upstreams/two", body).await.live();
    }
    assert_eq!(health(&api, "p1", "web/one").await, "down");
    assert_eq!(one.served.load(Ordering::SeqCst), served);
    one.say(200);
    vulcan_tests::eventually("it is back", async || one.served.load(Ordering::SeqCst) > served).await;
    let (_, failures) = load.end().await;
    assert_eq!(failures, [] as [String; 0]);
}

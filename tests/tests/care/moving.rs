//! A service's only upstream moves to servers that are well only after a while, or never.

use std::sync::Arc;

use serde_json::{Value, json};
use vulcan_tests::eventually;
use vulcan_tests::load::{Ledger, Load};
use vulcan_tests::origin::{Origin, Start};

use super::starting::{SHAPES, Scene};

/// Until a server that was moved to begins to answer.
const SLOW_MS: u64 = 2_000;
const NEVER_MS: u64 = 3_600_000;
const ONLY: &str = "only";

fn check() -> Value {
    json!({"path": "/status?code=200", "interval": "100ms"})
}

fn path(service: &str) -> String {
    format!("/v1/services/{service}/upstreams/{ONLY}")
}

fn at(origin: &Origin) -> Value {
    json!({"address": origin.address.to_string()})
}

/// A service with one upstream, under load; no failure of it is made good by another try.
async fn begin(scene: &Scene, service: &str, check: Value) -> (Origin, Load) {
    let settings = json!({"health_check": check, "retries": {"attempts": 0}});
    scene.api.service(service, settings).await;
    let origin = scene.world.origin(&format!("{service}-first")).await;
    scene.api.register(service, ONLY, origin.address).await;
    (origin, scene.load(service, false))
}

/// Moves it as often as there are starts, each time killing the server before as soon as that is answered.
async fn move_on(scene: &Scene, service: &str, check: Value, starts: &[Start]) -> Arc<Ledger> {
    let (mut old, load) = begin(scene, service, check).await;
    for (round, start) in starts.iter().enumerate() {
        let new = scene.world.slow_origin(&format!("{service}-{round}"), *start).await;
        let put = scene.api.put(&path(service), at(&new)).await;
        old.kill();
        load.ledger.retire(&old.id);
        assert_eq!(put.live().body["wait"]["for"], "drained");
        old = new;
    }
    Scene::asked_on(&load.ledger).await;
    load.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_the_only_upstream_moves_to_slow_starters() {
    let scene = Scene::new().await;
    let starts = [
        Start::Closed(SLOW_MS),
        Start::Unwell(SLOW_MS),
        Start::Closed(SLOW_MS),
        Start::Unwell(SLOW_MS),
    ];
    let ledger = move_on(&scene, "checked", check(), &starts).await;
    println!("{}", ledger.report());
    ledger.assert_clean(&SHAPES);
}

/// The load notices a server that takes the place of another before it is well.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_check_nobody_serves_until_the_new_address_does() {
    let scene = Scene::new().await;
    for (service, start) in [("closed", Start::Closed(SLOW_MS)), ("unwell", Start::Unwell(SLOW_MS))] {
        let ledger = move_on(&scene, service, Value::Null, &[start]).await;
        assert!(ledger.failed() > 0, "{}", ledger.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_address_serves_on_where_the_new_one_never_is_well() {
    let scene = Scene::new().await;
    let (mut old, load) = begin(&scene, "stuck", check()).await;
    let never = scene.world.slow_origin("never", Start::Unwell(NEVER_MS)).await;
    let put = scene
        .api
        .put(&format!("{}?timeout=1500ms", path("stuck")), at(&never))
        .await;
    let body = put.expect(504).body;
    assert_eq!(body["type"], "urn:vulcan:wait-not-reached");
    assert_eq!(body["committed"], true);
    let named = |list: &str| -> Vec<String> {
        let list = body["fleet"][list].as_array().unwrap().iter();
        list.map(|one| {
            format!(
                "{} {}",
                one["proxy"].as_str().unwrap(),
                one["upstream"].as_str().unwrap()
            )
        })
        .collect()
    };
    assert_eq!(named("warming"), ["p1 stuck/only", "p2 stuck/only"], "{body}");
    assert_eq!(named("draining"), ["p1 stuck/only", "p2 stuck/only"], "{body}");
    assert_eq!(body["fleet"]["warming"][0]["last"], "status 503");

    let shown = scene.api.get("/v1/fleet/p1").await.expect(200).body;
    for list in ["warming", "draining"] {
        assert_eq!(shown[list][0]["upstream"], "stuck/only", "{shown}");
    }
    assert_eq!(super::health(&scene.api, "p1", "stuck/only").await, "warming");
    // The address is not free of traffic, and nobody says that it is.
    let leave = format!("/v1/upstreams?address={}&timeout=300ms", old.address);
    scene.api.delete(&leave).await.expect(504);

    // What is moved to in its place ends it, as if the one that never was well had not been.
    let new = scene.world.slow_origin("new", Start::Closed(300)).await;
    let put = scene.api.put(&path("stuck"), at(&new)).await;
    old.kill();
    load.ledger.retire(&old.id);
    put.live();
    Scene::asked_on(&load.ledger).await;
    let ledger = load.stop().await;
    println!("{}", ledger.report());
    ledger.assert_clean(&SHAPES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregister_ends_a_move_that_does_not_come_about() {
    let scene = Scene::new().await;
    let (mut old, load) = begin(&scene, "stuck", check()).await;
    let never = scene.world.slow_origin("never", Start::Unwell(NEVER_MS)).await;
    let put = scene
        .api
        .put(&format!("{}?timeout=300ms", path("stuck")), at(&never))
        .await;
    put.expect(504);
    assert_eq!(load.ledger.failed(), 0, "{}", load.ledger.report());
    scene.api.delete(&path("stuck")).await.live();
    let then = old.mark().await;
    assert_eq!(then.in_flight, 0);
    eventually("nobody is there", async || load.ledger.failed() > 20).await;
    let later = old.count().await;
    assert_eq!((later.after, later.connections_after), (0, 0));
    old.kill();
    let ledger = load.stop().await;
    assert!(ledger.report().contains("no-upstream"), "{}", ledger.report());
}

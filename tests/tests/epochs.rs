//! A proxy follows one store: what happens when another one, or an older copy of it, stands in its place.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const LEASE: [&str; 2] = ["--lease", "1s"];
/// Time enough for proxies to connect anew, and for what they must not do.
const SETTLED: Duration = Duration::from_secs(3);

async fn put(api: &Api, service: &str) {
    api.put(
        &format!("/v1/services/{service}?wait=none"),
        json!({"match": [{"hosts": [service]}]}),
    )
    .await
    .expect(202);
}

/// The service, live, answered by an origin.
async fn serve(api: &Api, service: &str) {
    put(api, service).await;
    let address = origin::inside(service).await.to_string();
    api.put(
        &format!("/v1/services/{service}/upstreams/a"),
        json!({"address": address}),
    )
    .await
    .live();
}

async fn answers(node: &Node, host: &str) -> u16 {
    Api::new(node.http())
        .send(&Request::new("GET", "/bytes?n=2", host))
        .await
        .status
}

async fn assert_all(fleet: &[Node], host: &str, status: u16) {
    for node in fleet {
        assert_eq!(answers(node, host).await, status, "{host} at {}", node.name);
    }
}

async fn assert_eventually_all(fleet: &[Node], host: &str, status: u16) {
    for node in fleet {
        let what = format!("{host} is {status} at {}", node.name);
        vulcan_tests::eventually(&what, async || answers(node, host).await == status).await;
    }
}

async fn epoch(api: &Api) -> String {
    api.get("/v1/fleet").await.expect(200).body["epoch"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Puts another store in the place of the control plane's.
fn switch(world: &World, control: &mut Node, store: &str) {
    control.kill();
    control.argue("--store", &format!("redb:{}", world.store(store).display()));
    control.start();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_data_directory_does_not_wipe_the_fleet() {
    let world = World::new();
    let (mut control, fleet) = world.fleet(2, &LEASE).await;
    let api = control.api();
    serve(&api, "web").await;
    let right = epoch(&api).await;
    switch(&world, &mut control, "wrong");
    control.ready().await;
    assert_ne!(epoch(&api).await, right);
    put(&api, "other").await;
    tokio::time::sleep(SETTLED).await;
    assert_all(&fleet, "web", 200).await;
    assert_all(&fleet, "other", 404).await;
    assert_eq!(
        api.get("/v1/fleet").await.body["items"],
        json!([]),
        "strangers do not join"
    );
    // They ask several times a second; each is told of once, and by its name.
    let logged = control.logged();
    let of = |name: &str| {
        let refused = logged
            .lines()
            .filter(|line| line.contains("a proxy is refused, and no write"));
        refused
            .filter(|line| line.contains(&format!("proxy=\"{name}\" address=127.0.0.1:")))
            .count()
    };
    assert_eq!((of("p1"), of("p2")), (1, 1), "{logged}");
    switch(&world, &mut control, "control");
    control.ready().await;
    vulcan_tests::eventually("the fleet is back", async || {
        let reply = api
            .put(
                "/v1/services/web?timeout=1s",
                json!({"match": [{"hosts": ["web"]}], "max_body": 9}),
            )
            .await;
        reply.status == 200 && reply.body["fleet"]["reached"] == 2
    })
    .await;
    assert_all(&fleet, "web", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_succeed_takes_the_fleet_over() {
    let world = World::new();
    let (mut control, mut fleet) = world.fleet(2, &LEASE).await;
    let api = control.api();
    serve(&api, "web").await;
    let old = epoch(&api).await;
    switch(&world, &mut control, "new");
    control.ready().await;
    serve(&api, "next").await;
    vulcan_tests::eventually("both have met the stranger", async || {
        fleet
            .iter()
            .all(|proxy| proxy.logged().contains("refuses this proxy: 409"))
    })
    .await;
    assert_all(&fleet, "web", 200).await;
    let bad = api.post("/v1/fleet/succeed", json!({"epoch": "soon"})).await;
    bad.problem(422, "invalid").blames("epoch");
    api.post("/v1/fleet/succeed", json!({"epoch": old})).await.expect(200);
    assert_eventually_all(&fleet, "next", 200).await;
    assert_all(&fleet, "web", 404).await;
    let reply = api
        .put(
            "/v1/services/next",
            json!({"match": [{"hosts": ["next"]}], "max_body": 9}),
        )
        .await
        .live();
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
    // The consent is in the log: a restart on either side asks for it no more.
    control.restart().await;
    fleet[0].restart().await;
    assert_eventually_all(&fleet, "next", 200).await;
    assert_ne!(epoch(&api).await, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_went_back_is_noticed_also_when_grown_past() {
    let world = World::new();
    let (mut control, fleet) = world.fleet(2, &LEASE).await;
    let api = control.api();
    serve(&api, "web").await;
    control.kill();
    std::fs::copy(world.store("control"), world.store("backup")).unwrap();
    control.start();
    control.ready().await;
    for n in 0..3 {
        serve(&api, &format!("later{n}")).await;
    }
    let newest = api.get("/v1/fleet").await.body["head"].as_u64().unwrap();
    assert_all(&fleet, "later2", 200).await;

    switch(&world, &mut control, "backup");
    control.ready().await;
    assert!(
        api.get("/v1/fleet").await.body["head"].as_u64().unwrap() < newest,
        "the store went back"
    );
    tokio::time::sleep(SETTLED).await;
    assert_all(&fleet, "later2", 200).await;
    let body = |n: u64| json!({"match": [{"hosts": ["web"]}], "max_body": n});
    api.put("/v1/services/web?timeout=1s", body(1))
        .await
        .problem(504, "wait-not-reached");

    for n in 0.. {
        api.put("/v1/services/web?wait=none", body(100 + n)).await.expect(202);
        if api.get("/v1/fleet").await.body["head"].as_u64().unwrap() > newest + 2 {
            break;
        }
    }
    // Connected anew, the digest tells what the revision no longer does.
    control.restart().await;
    tokio::time::sleep(SETTLED).await;
    assert_all(&fleet, "later2", 200).await;
    api.put("/v1/services/web?timeout=1s", body(2))
        .await
        .problem(504, "wait-not-reached");

    let old = epoch(&api).await;
    api.post("/v1/fleet/succeed", json!({"epoch": old})).await.expect(200);
    assert_eventually_all(&fleet, "later2", 404).await;
    assert_all(&fleet, "web", 200).await;
    assert_ne!(epoch(&api).await, old, "its own epoch ended");
    let reply = api.put("/v1/services/web", body(3)).await.live();
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
}

//! The disk of the only node is full.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::eventually;
use vulcan_tests::world::World;

use super::control_planes;

/// A service of some 50 KB, so that the node soon needs room.
fn large(n: usize) -> Value {
    let label = "x".repeat(60);
    let hosts: Vec<String> = (0..250)
        .map(|host| format!("{label}.{label}.{label}.h{host}.s{n}.test"))
        .collect();
    json!({"match": [{"hosts": hosts}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_writes_are_refused_truthfully_and_all_else_goes_on() {
    let cassandra = Cassandra::start(1, &[]);
    let world = World::new();
    let planes = control_planes(&world, &cassandra.store(), 1).await;
    let api = planes[0].api();
    let proxy = world.proxy("p1", &api.url(), &[]).await;
    let origin = world.origin("one").await;
    api.put("/v1/services/web", json!({"match": [{"hosts": ["*"]}]}))
        .await
        .live();
    api.register("web", "one", origin.address).await;

    cassandra.tell("fill", 1);
    let mut told = BTreeMap::new();
    for n in 0..1_000 {
        let reply = api.put(&format!("/v1/services/s{n}?wait=none"), large(n)).await;
        assert!(matches!(reply.status, 202 | 503), "{}", reply.text);
        let committed = reply.body["committed"].clone();
        told.insert(n, committed);
        if told.values().filter(|committed| **committed != json!(true)).count() == 5 {
            break;
        }
    }
    let refused = told.values().filter(|committed| **committed != json!(true)).count();
    assert_eq!(refused, 5, "the disk never was full");
    api.get("/v1/services/web").await.expect(200);
    api.get("/readyz").await.expect(200);
    assert_eq!(Api::new(proxy.http()).get("/reflect").await.status, 200);

    // There is room again.
    cassandra.tell("kill", 1);
    cassandra.restart();
    eventually("writes are taken again", async || {
        api.put("/v1/services/after", json!({"match": [{"hosts": ["after"]}]}))
            .await
            .status
            == 200
    })
    .await;
    for (n, committed) in told {
        let there = api.get(&format!("/v1/services/s{n}")).await.status;
        match committed {
            Value::Bool(true) => assert_eq!(there, 200, "s{n}"),
            Value::Bool(false) => assert_eq!(there, 404, "s{n}"),
            _ => assert!(matches!(there, 200 | 404), "s{n}: {there}"),
        }
    }
}

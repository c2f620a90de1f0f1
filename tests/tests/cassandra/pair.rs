//! A control plane on Cassandra, and a proxy.

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::world::World;

use super::Store;

#[tokio::test]
async fn the_first_minutes() {
    let store = Store::empty().await;
    let world = World::new();
    let mut control = world.control_plane_on("control", &store.url(), &[]);
    control.ready().await;
    let api = control.api();
    let mut proxy = world.proxy("p1", &api.url(), &[]).await;
    let (one, other) = (world.origin("one").await, world.origin("other").await);

    api.put("/v1/services/web", json!({"match": [{"hosts": ["*"]}]}))
        .await
        .live();
    api.register("web", "one", one.address).await;
    assert_eq!(Api::new(proxy.http()).get("/reflect").await.status, 200);
    let epoch = api.get("/v1/fleet").await.expect(200).body["epoch"].clone();

    for kill in [false, true] {
        if kill {
            control.kill();
        } else {
            control.terminate();
            assert_eq!(control.exit().await, Some(0));
        }
        assert_eq!(
            Api::new(proxy.http()).get("/reflect").await.status,
            200,
            "proxies go on"
        );
        control.start();
        control.ready().await;
        let api = control.api();
        let fleet = api.get("/v1/fleet").await.expect(200);
        assert_eq!(fleet.body["epoch"], epoch);
        eventually("the proxy is back", async || {
            api.get("/v1/fleet").await.body["items"][0]["state"] == "present"
        })
        .await;
        api.get("/v1/services/web/upstreams/one").await.expect(200);
    }

    let api = control.api();
    api.register("web", "other", other.address).await;
    api.delete("/v1/services/web/upstreams/one").await.live();
    assert_eq!(Api::new(proxy.http()).get("/reflect").await.status, 200);
    let history = api.get("/v1/revisions?limit=1000").await.expect(200);
    let revisions: Vec<u64> = history.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| revision["revision"].as_u64().unwrap())
        .collect();
    assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>());
    proxy.terminate();
    assert_eq!(proxy.exit().await, Some(0));
}

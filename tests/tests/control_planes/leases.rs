//! Whose word keeps a lease, and until when a silent proxy counts.

use serde_json::json;
use vulcan_tests::cassandra::{Cassandra, link};
use vulcan_tests::eventually;
use vulcan_tests::world::World;

use super::words::sees;
use super::{control_planes, urls};

/// One that is cut off from the store keeps no lease: who can go elsewhere does, and who cannot is detached in the end.
#[tokio::test(flavor = "multi_thread")]
async fn one_cut_off_from_the_store_keeps_nobody() {
    let world = World::new();
    let store = Cassandra::shared().store();
    let planes = control_planes(&world, &store, 1).await;
    let a = &planes[0];
    let link = link::Link::around(&Cassandra::shared().contacts, 1);
    let through = store.replace(&Cassandra::shared().contacts, &link.contacts);
    let mut b = world.control_plane_on("b", &through, &[]);
    b.ready().await;
    let lease = ["--lease", "4s"];
    let _mobile = world.proxy("mobile", &urls(&[&b, a]), &lease).await;
    let tied = world.proxy("tied", &b.api().url(), &lease).await;
    sees(&a.api(), &[("mobile", "present", &b), ("tied", "present", &b)]).await;
    a.api().service("web", json!({})).await;

    link.set(link::Mode::Freeze);
    let put = |n: u32| {
        let body = json!({"address": "127.0.0.1:9", "weight": n});
        let api = a.api();
        async move { api.put("/v1/services/web/upstreams/a?timeout=1s", body).await }
    };
    eventually("a has the proxy that could go", async || {
        super::words::shown(&a.api()).await[0].2 == a.admin().to_string()
    })
    .await;
    // The other one lives by what b last told it, and is waited for until that is over for certain.
    eventually("the one that cannot go is detached", async || {
        let reply = put(1).await;
        reply.status == 200 && reply.named("detached") == ["tied"]
    })
    .await;
    assert_eq!(tied.probe("/readyz").await, 200, "it goes on serving");

    link.set(link::Mode::Pass);
    eventually("b is back", async || {
        let reply = put(2).await;
        reply.status == 200 && reply.named("detached").is_empty() && reply.body["fleet"]["reached"] == 2
    })
    .await;
}

/// Frozen beyond everything, a control plane wakes and must not say what is no longer so.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_stood_still_begins_anew() {
    let world = World::new();
    let mut planes = control_planes(&world, &Cassandra::shared().store(), 2).await;
    let order = urls(&[&planes[1], &planes[0]]);
    let proxy = world.proxy("p1", &order, &["--lease", "4s"]).await;
    planes[0].api().service("web", json!({})).await;
    planes[1].freeze();
    let put = |n: u32| {
        let body = json!({"address": "127.0.0.1:9", "weight": n});
        let api = planes[0].api();
        async move { api.put("/v1/services/web/upstreams/a", body).await }
    };
    put(1).await.live();
    put(2).await.live();
    planes[1].thaw();
    let live = put(3).await.live();
    assert_eq!(live.body["fleet"]["reached"], 1, "{}", live.text);
    let after = planes[1]
        .api()
        .put(
            "/v1/services/web/upstreams/a",
            json!({"address": "127.0.0.1:9", "weight": 4}),
        )
        .await
        .live();
    assert_eq!(after.body["fleet"]["reached"], 1, "{}", after.text);
    drop(proxy);
    planes.clear();
}

//! What is left of a long period after both ends were killed in turn: all that was not spent. That a part is kept back where a
//! proxy may have used its standby, the orders of the limiter's simulation show.

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::limited::Witness;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

const THRESHOLD: usize = 60;

/// Two proxies, with a limit on `/short` that nobody comes near, and one of a long period on `/long`.
async fn fleet(world: &World) -> (Node, Vec<Node>) {
    let (control, proxies) = world.fleet(2, &[]).await;
    let origin = Witness::default().serve().await;
    control.api().service("web", json!({})).await;
    control.api().register("web", "a", origin).await;
    let limits = [
        json!({"threshold": 1000, "period": 1, "path": "/short"}),
        json!({"threshold": THRESHOLD, "period": 86_000, "path": "/long"}),
    ];
    for (n, limit) in limits.into_iter().enumerate() {
        let path = format!("/v1/limits/00000000-0000-4000-8000-{n:012}");
        control.api().put(&path, limit).await.live();
    }
    (control, proxies)
}

async fn is_admitted(proxy: &Node, path: &str) -> bool {
    let asked = async {
        let mut connection = Connection::connect(proxy.http()).await?;
        connection.ask(&Request::new("GET", path, "web")).await
    };
    asked.await.is_ok_and(|head| head.status == 200)
}

/// Once it is, its owner knows the life that it is in.
async fn is_heard(proxy: &Node) {
    eventually("its owner grants something", async || {
        is_admitted(proxy, "/short").await
    })
    .await;
}

/// Kills one after the other, and has them back.
async fn end_both(control: &mut Node, proxies: &mut [Node]) {
    proxies[0].restart().await;
    is_heard(&proxies[0]).await;
    control.restart().await;
    for proxy in proxies {
        is_heard(proxy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_and_then_its_control_plane_are_killed_and_all_is_there() {
    let world = World::new();
    let (mut control, mut proxies) = fleet(&world).await;
    is_heard(&proxies[0]).await;
    end_both(&mut control, &mut proxies).await;
    let mut admitted = 0;
    eventually("all of the threshold is admitted", async || {
        admitted += usize::from(is_admitted(&proxies[1], "/long").await);
        admitted == THRESHOLD
    })
    .await;
}

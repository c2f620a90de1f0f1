//! A hold through one control plane is one on the proxies of both, and ends once.

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

use super::{control_planes, urls};

const HOLD: &str = "/v1/services/web/hold";
const RESUME: &str = "/v1/services/web/resume";

fn ask(proxy: &Node, path: &'static str) -> tokio::task::JoinHandle<u16> {
    let at = Api::new(proxy.http());
    tokio::spawn(async move { at.send(&Request::new("GET", path, "web")).await.status })
}

async fn is_gone(plane: &Node) {
    vulcan_tests::eventually("the hold is gone", async || plane.api().get(HOLD).await.status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_holds_the_proxies_of_the_other_hold() {
    let world = World::new();
    let planes = control_planes(&world, &Cassandra::shared().store(), 2).await;
    let mut proxies: Vec<Node> = (0..2)
        .map(|n| {
            let order = urls(&[&planes[n % 2], &planes[(n + 1) % 2]]);
            world.proxy_launched(&format!("p{}", n + 1), &order, &[])
        })
        .collect();
    for proxy in &mut proxies {
        proxy.ready().await;
    }
    let (a, b) = (planes[0].api(), planes[1].api());
    a.service("web", json!({})).await;
    a.register("web", "db", origin::inside("db").await).await;

    let slow = ask(&proxies[1], "/bytes?n=10&head=4000");
    vulcan_tests::eventually("it is in flight", async || {
        let metrics = Api::new(proxies[1].status()).get("/metrics").await.text;
        metrics.contains("vulcan_upstream_in_flight{")
    })
    .await;
    let late = a
        .post(&format!("{HOLD}?timeout=500ms"), json!({"max": "60s"}))
        .await
        .expect(504);
    assert_eq!(
        late.body["fleet"]["draining"][0]["proxy"], "p2",
        "it is a's hold, and b's proxy"
    );
    let held = a.post(HOLD, json!({"max": "60s"})).await.live();
    assert_eq!(held.body["fleet"]["reached"], 2);
    assert!(slow.is_finished() || slow.await.unwrap() == 200);
    let waiting: Vec<_> = proxies.iter().map(|proxy| ask(proxy, "/reflect")).collect();
    b.post(RESUME, json!({})).await.live();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }

    // Both count its time; one of them ends it.
    a.post(HOLD, json!({"max": "1s"})).await.live();
    for plane in &planes {
        is_gone(plane).await;
    }
    let history = a.get("/v1/revisions?limit=1000").await.body;
    let ends = |commit: &&Value| commit["actor"] == "hold-max";
    assert_eq!(history["items"].as_array().unwrap().iter().filter(ends).count(), 1);
}

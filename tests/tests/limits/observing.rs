//! A limit that only observes: everything passes, and what it would have refused is told.

use std::net::SocketAddr;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::limited::Witness;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::LIMIT;

/// None of them is refused, nor told of a limit.
async fn pass(proxy: SocketAddr, requests: u32) {
    let mut connection = Connection::connect(proxy).await.unwrap();
    for _ in 0..requests {
        let (head, _) = connection.exchange(&Request::new("GET", "/", "web")).await.unwrap();
        assert_eq!((head.status, head.field("ratelimit-policy")), (200, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_told_by_the_usage_and_by_the_metrics() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let witness = Witness::default();
    api.register("web", "a", witness.serve().await).await;
    let limit = json!({"threshold": 20, "period": 3600, "mode": "observe"});
    api.put(LIMIT, limit).await.live();
    pass(proxies[0].http(), 30).await;
    pass(proxies[1].http(), 15).await;
    let usage = async || -> Value {
        let reply = api.get(&format!("{LIMIT}/usage?key=")).await;
        reply.body["window"].clone()
    };
    eventually("all of them are counted", async || {
        let window = usage().await;
        [&window["admitted"], &window["refused"], &window["would_refuse"]] == [&json!(20), &json!(0), &json!(25)]
    })
    .await;
    eventually("the proxies have heard it", async || {
        let mut told = [0, 0];
        for proxy in &proxies {
            let metrics = Api::new(proxy.status()).get("/metrics").await.text;
            for (sum, decision) in told.iter_mut().zip(["admitted", "would_refuse"]) {
                *sum += decided(&metrics, decision);
            }
        }
        told == [20, 25]
    })
    .await;
    api.delete(&format!("{LIMIT}/usage?key=")).await.expect(200);
    assert_eq!(usage().await["would_refuse"], json!(0));
    assert_eq!(witness.times("/").len(), 45);
}

/// How often, by a proxy's metrics.
fn decided(metrics: &str, decision: &str) -> u64 {
    let label = format!("decision=\"{decision}\"}} ");
    let mut lines = metrics
        .lines()
        .filter(|line| line.starts_with("vulcan_limit_decisions_total"));
    let count = lines.find_map(|line| line.split_once(&label));
    count.map_or(0, |(_, count)| count.parse().unwrap())
}

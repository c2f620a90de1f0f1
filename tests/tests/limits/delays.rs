//! Requests that wait for their turn instead of being refused, at two proxies.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vulcan_tests::eventually;
use vulcan_tests::limited::Witness;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::LIMIT;

async fn fleet(world: &World, limit: Value) -> (Node, Vec<Node>, Witness) {
    let (control, proxies) = world.fleet(2, &[]).await;
    let witness = Witness::default();
    control.api().service("web", json!({})).await;
    control.api().register("web", "a", witness.serve().await).await;
    control.api().put(LIMIT, limit).await.live();
    (control, proxies, witness)
}

/// Its status, in the end. Connected it is at once.
async fn ask(proxy: SocketAddr) -> JoinHandle<u16> {
    let mut connection = Connection::connect(proxy).await.unwrap();
    connection.reader.patience = Duration::from_secs(120);
    tokio::spawn(async move {
        let (head, _) = connection.exchange(&Request::new("GET", "/", "web")).await.unwrap();
        head.status
    })
}

async fn ask_in_turn(proxies: &[Node], requests: usize) -> Vec<JoinHandle<u16>> {
    let mut asked = Vec::new();
    for proxy in proxies.iter().cycle().take(requests) {
        asked.push(ask(proxy.http()).await);
    }
    asked
}

async fn statuses(asked: Vec<JoinHandle<u16>>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_passes_in_a_later_period_and_none_has_too_many() {
    let world = World::new();
    let limit = json!({"threshold": 5, "period": 2, "delay_max": "1m"});
    let (control, proxies, witness) = fleet(&world, limit).await;
    let asked = ask_in_turn(&proxies, 20).await;
    assert_eq!(statuses(asked).await, [200; 20]);
    assert!(witness.most("/", Duration::from_secs(2)) <= 5);

    // The control: who may not wait is refused.
    let limit = json!({"threshold": 5, "period": 60});
    control.api().put(LIMIT, limit).await.live();
    let asked = ask_in_turn(&proxies, 20).await;
    let refused = statuses(asked).await.iter().filter(|status| **status == 429).count();
    assert!(refused >= 15, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_keeps_nobody_waiting() {
    let world = World::new();
    let limit = json!({"threshold": 2, "period": 3600, "algorithm": "fixed", "delay_max": "1h"});
    let (_control, mut proxies, witness) = fleet(&world, limit).await;
    let asked = ask_in_turn(&proxies[..1], 6).await;
    eventually("two have passed", async || witness.times("/").len() == 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = asked.iter().filter(|asked| !asked.is_finished()).count();
    assert!(waiting >= 3, "{waiting} of four wait");
    proxies[0].terminate();
    let mut statuses = statuses(asked).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
    assert_eq!(proxies[0].exit().await, Some(0));
}

//! Deployments under load while control planes and nodes of Cassandra are killed, frozen and restarted in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::load::{Ledger, Load, Outages, SHAPES, Target};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use super::operator::Operator;
use super::{by_http, control_planes, urls};

/// Longer than the longest request takes.
const GAP: Duration = Duration::from_millis(2_500);

/// How many deployments in all; `VULCAN_DEPLOYMENTS` asks for another number.
fn wanted() -> u32 {
    std::env::var("VULCAN_DEPLOYMENTS").map_or(50, |wanted| wanted.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_control_planes_and_nodes_fall() {
    let cassandra = Cassandra::start(3, &[]);
    let world = Arc::new(World::new());
    let mut planes = control_planes(&world, &cassandra.store(), 2).await;
    let mut proxies: Vec<Node> = (0..3)
        .map(|n| {
            let order = urls(&[&planes[n % 2], &planes[(n + 1) % 2]]);
            world.proxy_launched(&format!("p{}", n + 1), &order, &[])
        })
        .collect();
    for proxy in &mut proxies {
        proxy.ready().await;
    }
    let operator = Arc::new(Operator::new(planes.iter().map(Node::api).collect()));

    let mut services = JoinSet::new();
    for (service, share, settings) in [
        ("hasty", 3, json!({})),
        ("once", 2, json!({"retries": {"attempts": 0}})),
    ] {
        let (world, operator, http) = (world.clone(), operator.clone(), by_http(&proxies));
        let count = wanted() * share / 5;
        services.spawn(async move { deploy(&world, &operator, service, settings, count, http).await });
    }
    let over = AtomicBool::new(false);
    let deployments = async {
        let ledgers = services.join_all().await;
        over.store(true, SeqCst);
        ledgers
    };
    let (ledgers, falls) = tokio::join!(deployments, fell(&mut planes, &cassandra, &over));

    for ledger in &ledgers {
        println!("{}", ledger.report());
        ledger.assert_clean(&SHAPES);
    }
    println!("{falls} falls; {} calls were repeated", operator.repeated());
    assert!(falls >= 4, "each kind of fall was there");
    assert!(operator.repeated() > 0, "no call ever met one that was down");
}

/// A new origin comes, the oldest goes.
async fn deploy(
    world: &World,
    operator: &Operator,
    service: &str,
    settings: Value,
    count: u32,
    proxies: Vec<std::net::SocketAddr>,
) -> Arc<Ledger> {
    operator.service(service, settings).await;
    let mut live = std::collections::VecDeque::new();
    for n in 0..2 {
        let origin = world.origin(&format!("{service}-{n}")).await;
        operator.register(service, &origin).await;
        live.push_back(origin);
    }
    let target = Target {
        service: service.to_owned(),
        proxies,
        hurry: false,
    };
    let load = Load::start(&target, &SHAPES, Arc::new(Outages::default()));
    tokio::time::sleep(GAP).await;
    for n in 0..count {
        let origin = world.origin(&format!("{service}-{}", n + 2)).await;
        operator.register(service, &origin).await;
        live.push_back(origin);
        let oldest = live.pop_front().unwrap();
        operator.retire(service, oldest, &load.ledger).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    load.stop().await
}

/// One thing after another falls and gets up, until the deployments are over; each kind at least once. Answers how many.
async fn fell(planes: &mut [Node], cassandra: &Cassandra, over: &AtomicBool) -> u32 {
    let mut falls = 0;
    while falls < 4 || !over.load(SeqCst) {
        let one = (falls / 4) as usize;
        match falls % 4 {
            0 => {
                let plane = &mut planes[one % 2];
                plane.kill();
                tokio::time::sleep(Duration::from_secs(3)).await;
                plane.start();
                plane.ready().await;
            }
            1 => {
                let node = 1 + one % 3;
                cassandra.tell("freeze", node);
                tokio::time::sleep(Duration::from_secs(4)).await;
                cassandra.tell("thaw", node);
            }
            2 => {
                // Beyond its proxies' patience, and in the odd turns beyond their leases.
                let plane = &planes[(one + 1) % 2];
                plane.freeze();
                tokio::time::sleep(Duration::from_secs(if one.is_multiple_of(2) { 7 } else { 15 })).await;
                plane.thaw();
            }
            _ => {
                let node = 1 + (one + 1) % 3;
                cassandra.tell("kill", node);
                tokio::time::sleep(Duration::from_secs(2)).await;
                cassandra.restart();
            }
        }
        falls += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    falls
}

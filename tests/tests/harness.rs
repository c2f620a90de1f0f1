//! The harness against itself: load, relay and origins, without a proxy between that could be wrong.

use std::sync::Arc;
use std::time::Duration;

use vulcan_tests::load::{Load, Outages, SHAPES, Target};
use vulcan_tests::relay::Relay;
use vulcan_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_passes_a_blind_relay() {
    let world = World::new();
    let mut origin = world.origin("o1").await;
    let relay = Relay::to(origin.address).await;
    let target = Target {
        service: "web".to_owned(),
        proxies: vec![relay.address],
        hurry: false,
    };
    let load = Load::start(&target, &SHAPES, Arc::default());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let ledger = load.stop().await;
    ledger.assert_clean(&SHAPES);
    let count = origin.mark().await;
    assert_eq!((count.received, count.in_flight, count.after), (ledger.done(), 0, 0));
    assert!(relay.returned() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_origin_and_a_late_request_are_noticed() {
    let world = World::new();
    let mut origin = world.origin("o1").await;
    let relay = Relay::to(origin.address).await;
    let target = Target {
        service: "web".to_owned(),
        proxies: vec![relay.address],
        hurry: false,
    };
    let load = Load::start(&target, &SHAPES, Arc::default());
    load.ledger.retire("o1");
    origin.mark().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        origin.count().await.after > 0,
        "the origin does not count what comes late"
    );
    origin.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.stop().await;
    assert!(ledger.failed() > 0 && ledger.stale() > 0, "{}", ledger.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_excuses_its_own_proxy_only() {
    let world = World::new();
    let mut origin = world.origin("o1").await;
    let relay = Relay::to(origin.address).await;
    let target = Target {
        service: "web".to_owned(),
        proxies: vec![relay.address, relay.address],
        hurry: false,
    };
    let outages = Arc::new(Outages::default());
    outages.begin(1);
    origin.kill();
    let load = Load::start(&target, &SHAPES, outages);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.stop().await;
    assert!(ledger.failed() > 0 && ledger.excused() > 0, "{}", ledger.report());
}

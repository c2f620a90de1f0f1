//! The limits of one fleet, owned by two control planes: kept whatever becomes of either.

use std::time::{Duration, Instant};

use serde_json::json;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::eventually;
use vulcan_tests::limited::{Offer, Witness};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use super::{by_http, control_planes, urls};

const THRESHOLD: usize = 40;
const PERIOD: Duration = Duration::from_secs(5);
/// One limit and so one account each: about half of them are owned by either.
const PATHS: [&str; 8] = ["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8"];

async fn all_are_admitted(witness: &Witness) {
    let begin = Instant::now();
    for path in PATHS {
        eventually(path, async || witness.since(path, begin) > 0).await;
    }
    println!("admitted again after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_keep_the_limits_of_one_fleet() {
    let world = World::new();
    let mut planes = control_planes(&world, &Cassandra::shared().store(), 2).await;
    let mut proxies: Vec<Node> = (0..3)
        .map(|n| {
            let order = urls(&[&planes[n % 2], &planes[(n + 1) % 2]]);
            world.proxy_launched(&format!("p{}", n + 1), &order, &[])
        })
        .collect();
    for proxy in &mut proxies {
        proxy.ready().await;
    }
    let api = planes[0].api();
    let witness = Witness::default();
    api.service("web", json!({})).await;
    api.register("web", "a", witness.serve().await).await;
    for (n, path) in PATHS.iter().enumerate() {
        let limit = json!({"path": format!("{path}$"), "threshold": THRESHOLD, "period": PERIOD.as_secs()});
        let id = format!("/v1/limits/00000000-0000-4000-8000-{n:012}");
        api.put(&id, limit).await.live();
    }
    let mut offer = Offer::start(&[], 0, Duration::ZERO, "");
    for path in PATHS {
        offer = offer.with(&by_http(&proxies), 1, Duration::from_millis(100), path);
    }
    all_are_admitted(&witness).await;
    tokio::time::sleep(PERIOD).await;

    // Either shows what the other one counts.
    for n in 0..PATHS.len() {
        let usage = format!("/v1/limits/00000000-0000-4000-8000-{n:012}/usage?key=");
        for plane in &planes {
            eventually("it shows what was admitted", async || {
                let shown = plane.api().get(&usage).await;
                shown.status == 200 && shown.body["window"]["admitted"].as_u64() > Some(0)
            })
            .await;
        }
    }

    planes[0].kill();
    all_are_admitted(&witness).await;
    planes[0].restart().await;
    tokio::time::sleep(PERIOD).await;
    all_are_admitted(&witness).await;

    planes[1].freeze();
    all_are_admitted(&witness).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    planes[1].thaw();
    tokio::time::sleep(PERIOD).await;
    all_are_admitted(&witness).await;

    // It hands over.
    planes[0].terminate();
    assert_eq!(planes[0].exit().await, Some(0));
    all_are_admitted(&witness).await;
    tokio::time::sleep(PERIOD).await;

    let heard = offer.stop().await;
    println!("{heard:?}");
    for path in PATHS {
        witness.assert_kept(path, THRESHOLD, PERIOD);
    }
    assert_eq!((heard.other, heard.none), (0, 0));
}

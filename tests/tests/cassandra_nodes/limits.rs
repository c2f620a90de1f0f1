//! The limits of a fleet while nodes are away that keep who owns them, and what is counted for longer than a minute.

use std::time::{Duration, Instant};

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::limited::{Offer, Witness};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use super::the_nodes;

const PERIOD: Duration = Duration::from_secs(5);
const LONG_PERIOD: Duration = Duration::from_secs(120);
/// Each is owned by one control plane or the other.
const PATHS: [&str; 6] = ["/1", "/2", "/3", "/4", "/5", "/6"];
const THRESHOLD: usize = 40;
/// The store counts it. It is used up while the nodes come and go.
const LONG: &str = "/long";
const LONG_THRESHOLD: usize = 100;

async fn fleet(world: &World, store: &str) -> (Vec<Node>, Vec<Node>) {
    let mut planes: Vec<Node> = ["a", "b"].map(|name| world.control_plane_on(name, store, &[])).into();
    for plane in &mut planes {
        plane.ready().await;
    }
    let urls = [planes[0].api().url(), planes[1].api().url()];
    let urls = urls.join(",");
    let mut proxies: Vec<Node> = ["p1", "p2", "p3"]
        .map(|name| world.proxy_launched(name, &urls, &[]))
        .into();
    for proxy in &mut proxies {
        proxy.ready().await;
    }
    (planes, proxies)
}

async fn limit(plane: &Node, n: u32, path: &str, threshold: usize, period: Duration) {
    let limit = json!({"path": format!("{path}$"), "threshold": threshold, "period": period.as_secs()});
    let id = format!("/v1/limits/00000000-0000-4000-8000-{n:012}");
    plane.api().put(&id, limit).await.live();
}

/// So many of each: the threshold takes about a period.
async fn are_admitted(what: &str, count: usize, witness: &Witness) {
    let begin = Instant::now();
    for path in PATHS {
        eventually(&format!("{path}: {what}"), async || witness.since(path, begin) >= count).await;
    }
    println!("{what}: admitted after {:?}", begin.elapsed());
}

/// Nothing at all for longer than what was granted is valid.
async fn are_refused(what: &str, witness: &Witness) {
    let lately = Duration::from_secs(3);
    let begin = Instant::now();
    eventually(what, async || {
        let since = Instant::now() - lately;
        begin.elapsed() > lately && PATHS.iter().all(|path| witness.since(path, since) == 0)
    })
    .await;
    println!("{what}: none admitted after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_kept_whatever_becomes_of_the_nodes() {
    let cassandra = the_nodes().await;
    let world = World::new();
    let (mut planes, proxies) = fleet(&world, &cassandra.store()).await;
    let witness = Witness::default();
    planes[0].api().service("web", json!({})).await;
    planes[0].api().register("web", "a", witness.serve().await).await;
    for (n, path) in (1..).zip(PATHS) {
        limit(&planes[0], n, path, THRESHOLD, PERIOD).await;
    }
    limit(&planes[1], 100, LONG, LONG_THRESHOLD, LONG_PERIOD).await;
    let addresses: Vec<_> = proxies.iter().map(Node::http).collect();
    let mut offer = Offer::start(&addresses, 1, Duration::from_secs(1), LONG);
    for path in PATHS {
        offer = offer.with(&addresses, 1, Duration::from_millis(100), path);
    }
    are_admitted("three nodes", 1, &witness).await;

    for node in 1..=3 {
        cassandra.tell("freeze", node);
        are_admitted("one of three stands still", THRESHOLD, &witness).await;
        cassandra.tell("thaw", node);
        are_admitted("it goes on", 1, &witness).await;
    }
    cassandra.tell("kill", 2);
    are_admitted("one of three was killed", 1, &witness).await;
    planes[0].kill();
    are_admitted("an owner, too", 1, &witness).await;
    planes[0].restart().await;
    cassandra.restart();
    are_admitted("both are back", 1, &witness).await;

    // Nobody can say any more that it owns a limit.
    cassandra.tell("freeze", 1);
    cassandra.tell("freeze", 3);
    are_refused("no quorum", &witness).await;
    cassandra.tell("thaw", 1);
    cassandra.tell("thaw", 3);
    are_admitted("there is a quorum again", 1, &witness).await;

    let heard = offer.stop().await;
    println!("{heard:?}");
    assert_eq!((heard.other, heard.none), (0, 0), "every request was answered");
    for path in PATHS {
        witness.assert_kept(path, THRESHOLD, PERIOD);
    }
    witness.assert_kept(LONG, LONG_THRESHOLD, LONG_PERIOD);
    assert!(
        witness.times(LONG).len() > LONG_THRESHOLD / 2,
        "{LONG} was offered in vain"
    );
}

//! Several control planes on one real Cassandra, with real proxies: what is promised through one of them holds for the
//! proxies of all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deployments;
mod full;
mod heartbeats;
mod holds;
mod leases;
mod limits;
mod operator;
mod words;

use std::net::SocketAddr;

use vulcan_tests::node::Node;
use vulcan_tests::world::World;

/// Control planes `a`, `b`, … of one store, all ready.
async fn control_planes(world: &World, store: &str, count: u8) -> Vec<Node> {
    let mut planes: Vec<Node> = (b'a'..b'a' + count)
        .map(|name| world.control_plane_on(&char::from(name).to_string(), store, &[]))
        .collect();
    for plane in &mut planes {
        plane.ready().await;
    }
    planes
}

/// `--controlplane` of these, in this order.
fn urls(planes: &[&Node]) -> String {
    let urls: Vec<String> = planes.iter().map(|plane| plane.api().url()).collect();
    urls.join(",")
}

fn by_http(proxies: &[Node]) -> Vec<SocketAddr> {
    proxies.iter().map(Node::http).collect()
}

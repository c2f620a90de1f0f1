//! The walk of docs/authorizing.md, run as it stands there.

use vulcan_tests::authserver::Authserver;
use vulcan_tests::tour::{self, Tour};
use vulcan_tests::world::World;

#[tokio::test]
async fn the_walk_prints_what_it_says() {
    let Some(tour) = Tour::of("docs/authorizing.md", "A walk through it") else {
        return;
    };
    let world = World::new();
    let up = world.up(&[]).await;
    let build = "cargo build --release --example hello && cargo build --release --package vulcan-tests --bin \
                 vulcan-authserver";
    let tour = tour
        .with("localhost:8182", up.admin())
        .with("localhost:8080", up.http())
        .with("127.0.0.1:3000", tour::free())
        .with("127.0.0.1:5000", tour::free())
        .with(build, ":")
        .with("target/release/examples/hello", tour::hello().display())
        .with("target/release/vulcan-authserver", Authserver::binary().display());
    tour.run(&up, &world.path("")).await;
}

//! The tour of README.md, run as it stands there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use vulcan_tests::binary;
use vulcan_tests::tour::{self, Tour};
use vulcan_tests::world::World;

#[tokio::test]
async fn the_tour_prints_what_it_says() {
    let Some(tour) = Tour::of("README.md", "Five minutes") else {
        return;
    };
    let world = World::new();
    let up = world.up(&["--name", "vm"]).await;
    let tour = tour
        .with("localhost:8182", up.admin())
        .with("localhost:8080", up.http())
        .with("127.0.0.1:3000", tour::free())
        .with("127.0.0.1:3001", tour::free())
        .with("cargo build --release --example hello", ":")
        .with("target/release/examples/hello", tour::hello().display())
        .with("target/release/vulcan", binary::vulcan().get_program().display());
    tour.run(&up, &world.path("")).await;
}

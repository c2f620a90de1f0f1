//! The walk of docs/limiting.md, as it stands there.

use vulcan_tests::tour::{self, Tour};
use vulcan_tests::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_of_the_guide() {
    let Some(tour) = Tour::of("docs/limiting.md", "A walk through it") else {
        return;
    };
    let hello = tour::hello();
    let world = World::new();
    let up = world.up(&[]).await;
    tour.with("cargo build --release --example hello\n", "\n")
        .with("target/release/examples/hello", hello.display())
        .with("localhost:8182", up.admin())
        .with("localhost:8080", up.http())
        .with("127.0.0.1:3000", tour::free())
        .run(&up, world.path("").as_path())
        .await;
}

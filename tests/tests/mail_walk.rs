//! The walk of docs/mail.md, run as it stands there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use vulcan_tests::authserver::Authserver;
use vulcan_tests::mail::certificate::Certificate;
use vulcan_tests::tour::{self, Tour};
use vulcan_tests::world::World;

#[tokio::test]
async fn the_walk_prints_what_it_says() {
    let Some(tour) = Tour::of("docs/mail.md", "A walk through it") else {
        return;
    };
    let world = World::new();
    let certificate = Certificate::create(&world.path(""), "chain");
    let flags = [&certificate.arguments()[..], &["--mail-hostname", "mail.example.com"]].concat();
    let up = world.up(&flags).await;
    let build = "cargo build --release --example inbox && cargo build --release --package vulcan-tests --bin \
                 vulcan-authserver";
    let inbox = tour::free();
    let tour = tour
        .with("localhost:8182", up.admin())
        .with("localhost:2525", up.smtp())
        .with("127.0.0.1:3000", inbox)
        .with("localhost:3000", inbox)
        .with("127.0.0.1:5000", tour::free())
        .with(build, ":")
        .with("target/release/examples/inbox", tour::example("inbox").display())
        .with("target/release/vulcan-authserver", Authserver::binary().display());
    tour.run(&up, &world.path("")).await;
}

//! The dashboard in a real browser, on fleets of real processes: what it shows is what there is, what is pressed is done,
//! and what others have written stays text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "dashboard/actions.rs"]
mod actions;
#[path = "dashboard/following.rs"]
mod following;
#[path = "dashboard/markup.rs"]
mod markup;
#[path = "dashboard/pictures.rs"]
mod pictures;
#[path = "dashboard/scale.rs"]
mod scale;
#[path = "dashboard/tokens.rs"]
mod tokens;
#[path = "dashboard/traffic.rs"]
mod traffic;

use vulcan_tests::browser::{Browser, Page};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

/// The page of this control plane, live.
async fn open<'a>(browser: &'a mut Browser, control: &Node) -> Page<'a> {
    let mut page = browser.open(&control.api().url()).await;
    page.shows("#connection", "Live").await;
    page
}

async fn browser(world: &World) -> Browser {
    Browser::start(&world.path("")).await
}

/// Nothing in the page went wrong; the requests that were refused are these.
async fn assert_calm(page: &mut Page<'_>, refused: &[(u64, &str)]) {
    assert_eq!(page.complaints().await, [] as [String; 0]);
    let mut found = page.refused().await;
    // A control plane that counts no requests is asked once.
    found.retain(|(_, path)| path != "/v1/traffic");
    found.dedup();
    let expected: Vec<(u64, String)> = refused
        .iter()
        .map(|(status, path)| (*status, (*path).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

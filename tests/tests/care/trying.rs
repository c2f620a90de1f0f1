//! Nobody's request tries an upstream that is not well: the proxies find out by themselves.

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::load::Shape;
use vulcan_tests::origin::{Fault, Origin};

use super::failing::{CLIENTS, Scene, serves};

const POSTS: [Shape; 3] = [Shape::Post; 3];
/// Probes of both proxies that fail, by which the pauses have grown.
const PROBES: u64 = 8;

/// The first of four is in trouble, and every proxy has noticed.
async fn in_trouble(scene: &Scene, service: &str, clients: &[Shape], fault: Option<Fault>) -> Vec<Origin> {
    let settings = json!({"timeouts": {"response": "1500ms"}});
    scene.api.service(service, settings).await;
    let mut origins = scene.origins(service).await;
    let load = scene.load(service, clients);
    for origin in &mut origins {
        serves(origin).await;
    }
    match fault {
        Some(_) => drop(origins[0].fault(fault).await),
        None => origins[0].freeze(),
    }
    scene.stands(&format!("{service}/bad"), "ejected").await;
    // What was in flight there has failed, or has been answered by another.
    let ledger = load.stop().await;
    let failed = ledger.failed();
    assert!(
        failed > 0 && failed == ledger.failed_of(Shape::Post),
        "{}",
        ledger.report()
    );
    origins
}

/// In a service that is only posted to, through several pauses.
async fn no_post_is_spent(service: &str, fault: Fault) {
    let scene = Scene::new().await;
    let mut origins = in_trouble(&scene, service, &POSTS, Some(fault)).await;
    let bad = &mut origins[0];
    let load = scene.load(service, &POSTS);
    let before = bad.count().await;
    eventually("it is probed", async || {
        bad.count().await.probes >= before.probes + PROBES
    })
    .await;
    assert_eq!(load.ledger.failed(), 0, "{fault}: {}", load.ledger.report());
    assert_eq!(bad.count().await.received, before.received, "{fault}");
    bad.fault(None).await;
    serves(bad).await;
    scene.stands(&format!("{service}/bad"), "up").await;
    load.stop().await.assert_clean(&POSTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_post_is_spent_on_one_that_answers_garbage() {
    no_post_is_spent("garbage", Fault::Garbage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_post_is_spent_on_one_that_gives_half_an_answer() {
    no_post_is_spent("half", Fault::HalfBody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_spent_on_one_that_stands_still() {
    let scene = Scene::new().await;
    let mut mixed = in_trouble(&scene, "web", &CLIENTS, None).await;
    let mut posted = in_trouble(&scene, "posted", &POSTS, None).await;
    let (load, posts) = (scene.load("web", &CLIENTS), scene.load("posted", &POSTS));
    // Pauses up to several seconds, and within each probe the time for an answer.
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    for load in [&load, &posts] {
        assert_eq!(load.ledger.failed(), 0, "{}", load.ledger.report());
    }
    for (service, origins) in [("web", &mut mixed), ("posted", &mut posted)] {
        origins[0].thaw();
        serves(&mut origins[0]).await;
        scene.stands(&format!("{service}/bad"), "up").await;
    }
    load.stop().await.assert_clean(&CLIENTS);
    posts.stop().await.assert_clean(&POSTS);
}

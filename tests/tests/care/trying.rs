//! Who tries an upstream that stood still, and who does not.

use std::time::Duration;

use serde_json::json;
use vulcan_tests::load::Shape;
use vulcan_tests::origin::Origin;

use super::failing::{CLIENTS, Scene, serves};

/// Longer than posts keep away from an upstream that nobody else tries.
const UNTRIED: Duration = Duration::from_secs(90);

/// The first of four stands still, and every proxy has noticed.
async fn stopped(scene: &Scene, service: &str, clients: &[Shape]) -> Vec<Origin> {
    let settings = json!({"timeouts": {"response": "1s"}});
    scene.api.service(service, settings).await;
    let mut origins = scene.origins(service).await;
    let load = scene.load(service, clients);
    for origin in &mut origins {
        serves(origin).await;
    }
    origins[0].freeze();
    scene.stands(&format!("{service}/bad"), "ejected").await;
    // What was in flight there has failed, or has been answered by another.
    let ledger = load.stop().await;
    assert!(ledger.failed() <= ledger.failed_of(Shape::Post), "{}", ledger.report());
    origins
}

/// In a service that is only posted to somebody has to find out in the end, and fails. In another one that takes the same
/// posts, and requests that may be repeated, nobody does, through all the pauses until then.
#[tokio::test(flavor = "multi_thread")]
async fn no_post_is_spent_on_one_that_stands_still() {
    let scene = Scene::new().await;
    let mut mixed = stopped(&scene, "web", &CLIENTS).await;
    let posted = stopped(&scene, "posted", &[Shape::Post; 3]).await;

    let (load, posts) = (scene.load("web", &CLIENTS), scene.load("posted", &[Shape::Post; 2]));
    tokio::time::timeout(UNTRIED, async {
        while posts.ledger.failed() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a post finds out");
    assert_eq!(load.ledger.failed(), 0, "{}", load.ledger.report());
    for origins in [&mixed, &posted] {
        origins[0].thaw();
    }
    serves(&mut mixed[0]).await;
    scene.stands("web/bad", "up").await;
    load.stop().await.assert_clean(&CLIENTS);
    let told = posts.stop().await;
    // Each proxy learns it by itself.
    assert!(told.failed() <= 2, "{}", told.report());
    println!("{} of {} posts failed", told.failed(), told.done());
}

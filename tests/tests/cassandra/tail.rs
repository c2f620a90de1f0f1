//! What one control plane appends, the others see.

use std::sync::Arc;

use controlplane::changelog::{Changelog, Decision};
use controlplane::store;
use vulcan_tests::cassandra::patiently;
use vulcan_tests::eventually;

use super::{Store, put, url};

async fn changelog(store: &Store) -> Arc<Changelog> {
    let log = store::open(&url(&store.url())).await.unwrap();
    patiently(async || Changelog::start(log.clone()).await).await.0
}

async fn service(changelog: &Changelog, name: &str) -> u64 {
    let op = put("service", name, r#"{"match":[]}"#);
    let written = changelog.submit("test".into(), Arc::new(move |_| Decision::Append(vec![op.clone()])));
    written.await.unwrap().revision.0
}

#[tokio::test]
async fn every_control_plane_publishes_what_any_commits() {
    let store = Store::empty().await;
    let one = changelog(&store).await;
    let other = changelog(&store).await;
    assert_eq!(one.head().state.epoch, other.head().state.epoch);
    assert_eq!(service(&one, "a").await, 1);
    eventually("the other one publishes it", async || {
        other.head().state.revision.0 == 1
    })
    .await;
    assert_eq!(service(&other, "b").await, 2, "built on what was published");
    assert_eq!(
        service(&one, "c").await,
        3,
        "whether it was published here already or not"
    );
    let digest = |changelog: &Changelog| changelog.head().state.digest;
    eventually("both are at one head", async || digest(&one) == digest(&other)).await;
}

#[tokio::test]
async fn nothing_is_decided_from_a_memory_that_lags() {
    let store = Store::empty().await;
    let (one, other) = (changelog(&store).await, changelog(&store).await);
    for n in 1..=20 {
        let name = format!("s{n}");
        service(&one, &name).await;
        // At once, most likely before it was heard of.
        let head = other.true_head("test".into()).await.unwrap();
        assert!(
            head.state.get(&shared::change::ObjectKey::service(&name)).is_some(),
            "{name}"
        );
    }
}

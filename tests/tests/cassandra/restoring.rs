//! Restoring into a keyspace, by several statements: others see all of it or nothing.

use std::sync::Arc;

use controlplane::store::{self, RestoreError};
use shared::change::{Epoch, Revision};
use shared::state::State;
use uuid::Uuid;

use super::{Eyes, Store, put, url};

fn snapshot(revision: u64, objects: u64) -> State {
    let mut state = State::empty(Epoch(Uuid::from_u128(7)));
    for n in 1..=objects {
        state.apply_op(&put("service", &format!("s{n}"), r#"{"match":[]}"#), Revision(revision));
    }
    (state.revision, state.configured) = (Revision(revision), Revision(revision));
    state
}

#[tokio::test]
async fn a_keyspace_in_the_middle_of_a_partition_goes_on_there() {
    for revision in [7, 1_500] {
        let store = Store::empty().await;
        let log = store::open(&url(&store.url())).await.unwrap();
        let expected = snapshot(revision, 500);
        log.restore(Arc::new(expected.clone())).await.unwrap();
        let again = log.restore(Arc::new(expected.clone())).await;
        assert!(matches!(again, Err(RestoreError::InUse(_))), "{again:?}");
        let next = super::commit(revision + 1, vec![put("service", "next", r#"{"match":[]}"#)]);
        log.append(Revision(revision), Arc::new(next)).await.unwrap();
        let other = store::open(&url(&store.url())).await.unwrap();
        let state = other.load().await.unwrap();
        assert_eq!((state.revision, state.objects.len()), (Revision(revision + 1), 501));
        assert_ne!(state.epoch, expected.epoch);
    }
}

#[tokio::test]
async fn what_is_half_restored_is_not_opened() {
    let store = Store::empty().await;
    let log = store::open(&url(&store.url())).await.unwrap();
    let eyes = Eyes::on(&store.url()).await;
    // As whoever restored left it when it was killed.
    eyes.say("INSERT INTO {}.meta (key, value) VALUES ('restoring', 'somebody') IF NOT EXISTS")
        .await;
    let opened = store::open(&url(&store.url())).await.err().unwrap().to_string();
    assert!(opened.contains("half restored"), "{opened}");
    let second = log.restore(Arc::new(snapshot(7, 1))).await;
    assert!(matches!(second, Err(RestoreError::InUse(_))), "{second:?}");
    eyes.say("DELETE FROM {}.meta WHERE key = 'restoring' IF EXISTS").await;
    assert_eq!(log.load().await.unwrap().objects.len(), 0, "nothing was changed");
    log.restore(Arc::new(snapshot(7, 1))).await.unwrap();
}

#[tokio::test]
async fn a_keyspace_that_a_control_plane_uses_is_left_alone() {
    let store = Store::empty().await;
    let log = store::open(&url(&store.url())).await.unwrap();
    let row = shared::stream::planes::Row {
        id: shared::stream::planes::PlaneId(Uuid::from_u128(1)),
        url: "http://there:8182".into(),
        beat: 1,
    };
    log.rows().unwrap().refresh(row, Revision::ZERO).await.unwrap();
    let refused = log.restore(Arc::new(snapshot(7, 1))).await.err().unwrap().to_string();
    assert!(refused.contains("http://there:8182"), "{refused}");
    assert_eq!(log.head().await.unwrap(), Revision::ZERO);
}

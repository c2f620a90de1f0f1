//! An empty log that is to stand at a snapshot.

use std::sync::Arc;

use shared::change::{Epoch, ObjectKey, Revision};
use shared::model::LimitId;
use shared::state::State;
use uuid::Uuid;

use super::{Medium, assert_same, commit, fill, fill_on, loaded, put, revisions, service};
use crate::store::{AppendError, Log, ReadError, RestoreError};

/// A state at `revision` in which each object is of another one, and the upstream's registration of an earlier one still.
fn snapshot(revision: u64) -> State {
    let mut state = State::empty(Epoch(Uuid::from_u128(77)));
    let mut upstream = put(ObjectKey::upstream("web", "a:1"), r#"{"weight":2}"#);
    upstream.registration = Some(Revision(revision - 5));
    let id = "00000000-0000-4000-8000-000000000001".parse().unwrap_or_default();
    let ops = [
        service("web"),
        upstream,
        put(ObjectKey::limit(LimitId(id)), r#"{"threshold":5}"#),
        put(
            ObjectKey::member("p1"),
            r#"{"instance":"00000000-0000-4000-8000-000000000002","lease_ms":1}"#,
        ),
    ];
    for (before, op) in ops.iter().enumerate() {
        state.apply_op(op, Revision(revision - before as u64));
    }
    (state.revision, state.configured) = (Revision(revision), Revision(revision));
    state
}

/// At the end of a partition, where the next one begins with what is appended first.
pub async fn an_empty_log_is_restored_as_a_whole(medium: &dyn Medium) {
    let log = medium.open().await;
    let own = loaded(&*log).await.epoch;
    let mut expected = snapshot(4_999);
    expected.epoch = own;
    assert_eq!(log.restore(Arc::new(snapshot(4_999))).await, Ok(()));
    stands_at_its_snapshot(&*log, &expected).await;
    drop(log);
    let log = medium.open().await;
    stands_at_its_snapshot(&*log, &expected).await;
    let early = commit(1, vec![service("early")]);
    assert_eq!(log.append(Revision::ZERO, early).await, Err(AppendError::Conflict));
    for revision in 5_000..=5_002 {
        fill_on(&*log, revision).await;
    }
    assert_eq!(revisions(&*log, 4_999, 10).await, Ok(vec![5_000, 5_001, 5_002]));
    drop(log);
    let log = medium.open().await;
    assert_eq!(loaded(&*log).await.objects.len(), 7);
    assert_eq!(log.head().await, Ok(Revision(5_002)));
}

async fn stands_at_its_snapshot(log: &dyn Log, expected: &State) {
    let at = expected.revision;
    assert_same(&loaded(log).await, expected);
    assert_eq!(log.head().await, Ok(at));
    for from in [0, 999, at.0 - 1] {
        let trimmed = ReadError::Trimmed { trimmed: at };
        assert_eq!(revisions(log, from, 10).await, Err(trimmed), "after {from}");
    }
    assert_eq!(revisions(log, at.0, 10).await, Ok(Vec::new()));
    assert_eq!(log.trim(Revision(at.0 - 999)).await, Ok(()));
}

pub async fn only_an_empty_log_is_restored(medium: &dyn Medium) {
    let log = medium.open().await;
    fill(&*log, 1).await;
    let before = loaded(&*log).await;
    let restored = log.restore(Arc::new(snapshot(10))).await;
    assert!(matches!(restored, Err(RestoreError::InUse(_))), "{restored:?}");
    drop(log);
    let log = medium.open().await;
    assert_same(&loaded(&*log).await, &before);
    fill_on(&*log, 2).await;
}

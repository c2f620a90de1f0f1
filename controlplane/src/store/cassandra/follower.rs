//! Brings the tables of what stands up to the log. Any control plane does, and several may at once: each write is idempotent.

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::change::Commit;

use super::Inner;
use super::meta::Applied;
use crate::store::ReadError;

/// Revisions between two notes of how far the tables are.
const BATCH: usize = 100;

/// Writes that are under way at once.
pub const WRITES: usize = 32;

/// Until the tables hold all that the log held at some moment of this call.
pub async fn follow(store: &Inner) -> Result<Applied, ReadError> {
    // Two at once would do everything twice.
    let _alone = store.following.lock().await;
    let mut applied = store.meta.applied(&store.client).await?;
    loop {
        let commits = store.read(applied.revision, BATCH).await?;
        let Some(last) = commits.last() else { return Ok(applied) };
        let is_last = commits.len() < BATCH || last.revision >= store.seen();
        write(store, &commits).await?;
        applied = commits.iter().fold(applied, Applied::after);
        store.meta.set_applied(&store.client, applied).await?;
        if is_last {
            return Ok(applied);
        }
    }
}

/// All rows of a batch, in no order: of two writes of one row the later revision stays.
async fn write(store: &Inner, commits: &[Commit]) -> Result<(), ReadError> {
    let mut writes = Vec::new();
    for commit in commits {
        for op in &commit.ops {
            writes.push(store.objects.write(&store.client, op, commit.revision));
        }
    }
    stream::iter(writes)
        .buffer_unordered(WRITES)
        .try_collect::<()>()
        .await?;
    Ok(())
}

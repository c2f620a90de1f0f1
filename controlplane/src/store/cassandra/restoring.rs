//! Filling an empty keyspace from a snapshot.
//!
//! It takes many statements, and nobody may see what some of them have done. So a mark comes before the first: a keyspace
//! with it is opened by no version that knows of it, and it goes after the last. What decides that the log was empty is one
//! conditional statement, which seals the partition that an empty log would begin in.

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::change::{Op, Revision, Verb};
use shared::state::State;
use uuid::Uuid;

use super::Inner;
use super::follower::WRITES;
use super::meta::Applied;
use super::numbers::{bucket, last_of};
use crate::store::{ReadError, RestoreError, Rows};

/// Tries of one row: a store that has much to write is late at times.
const TRIES: usize = 10;

pub async fn restore(store: &Inner, snapshot: &State) -> Result<(), RestoreError> {
    if snapshot.revision == Revision::ZERO {
        return Ok(());
    }
    // The tables follow the log, which says nothing yet.
    let _alone = store.following.lock().await;
    is_unused(store).await?;
    let by = Uuid::new_v4();
    store.meta.begin_restoring(&store.client, by).await?;
    if let Err(error) = claim(store, snapshot.revision).await {
        if matches!(error, RestoreError::InUse(_)) {
            store.meta.end_restoring(&store.client, by).await?;
        }
        return Err(error);
    }
    fill(store, snapshot).await?;
    store.saw(snapshot.revision);
    store.meta.end_restoring(&store.client, by).await
}

async fn is_unused(store: &Inner) -> Result<(), RestoreError> {
    let head = store.head().await?;
    if head != Revision::ZERO {
        return Err(RestoreError::not_empty(head));
    }
    match store.rows.all().await?.first() {
        None => Ok(()),
        Some(row) => {
            let url = &row.url;
            Err(RestoreError::InUse(format!("a control plane at {url} uses this one")))
        }
    }
}

/// Whoever opened it before the mark was there shows by its row, or finds no place to append at.
async fn claim(store: &Inner, head: Revision) -> Result<(), RestoreError> {
    is_unused(store).await?;
    match store.partitions.seal(head.min(last_of(0))).await? {
        true => Ok(()),
        false => Err(RestoreError::InUse("somebody has just written to it".into())),
    }
}

async fn fill(store: &Inner, snapshot: &State) -> Result<(), RestoreError> {
    let writes = snapshot.objects.clone().into_iter().map(|(key, object)| {
        let op = Op {
            verb: Verb::Put,
            kind: key.kind,
            key: key.key,
            body: Some(object.body.clone()),
            registration: object.registration,
            before: None,
        };
        write(store, op, object.revision)
    });
    stream::iter(writes)
        .buffer_unordered(WRITES)
        .try_collect::<()>()
        .await?;
    let head = snapshot.revision;
    if bucket(head) > 0 && !store.partitions.seal(head).await? {
        return Err(RestoreError::Failed(format!("something stands at revision {head}")));
    }
    let (meta, client) = (&store.meta, &store.client);
    let applied = Applied {
        revision: head,
        configured: snapshot.configured,
        epoch: meta.applied(client).await?.epoch,
    };
    meta.set_mark(client, "trimmed", head).await?;
    meta.set_mark(client, "swept", head).await?;
    Ok(meta.set_applied(client, applied).await?)
}

/// Writing a row again changes nothing.
async fn write(store: &Inner, op: Op, revision: Revision) -> Result<(), ReadError> {
    let mut tries = 1;
    loop {
        match store.objects.write(&store.client, &op, revision).await {
            Ok(()) => return Ok(()),
            Err(error) if tries == TRIES => return Err(error.into()),
            Err(_) => tries += 1,
        }
    }
}

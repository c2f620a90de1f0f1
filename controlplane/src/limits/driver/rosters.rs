//! Reads of the roster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shared::quota::Shard;

use crate::changelog::Changelog;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);

/// Reads of the roster at the log's true head. One serves all that asked before it began.
#[derive(Default)]
pub struct Rosters {
    pub waiting: BTreeSet<Shard>,
    reading: Option<(BTreeSet<Shard>, BoxFuture<'static, ()>)>,
}

impl Rosters {
    pub fn look(&mut self, read: impl FnOnce() -> BoxFuture<'static, ()>) {
        if self.reading.is_none() && !self.waiting.is_empty() {
            self.reading = Some((std::mem::take(&mut self.waiting), read()));
        }
    }

    pub async fn read(&mut self) -> BTreeSet<Shard> {
        match &mut self.reading {
            Some((_, read)) => read.await,
            None => return std::future::pending().await,
        }
        self.reading.take().map(|(shards, _)| shards).unwrap_or_default()
    }
}

/// The changelog's head is then as new as this call.
pub fn read_head(changelog: Arc<Changelog>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while changelog.true_head("limits".into()).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    })
}

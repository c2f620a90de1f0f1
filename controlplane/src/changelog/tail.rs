//! What other control planes append to a shared log. It is looked for again and again; nothing else has to tell of it.

use std::sync::Arc;
use std::time::Duration;

use shared::change::Commit;
use tokio::sync::mpsc;

use super::Shared;
use crate::store::Log;

/// Pages that may wait for the writer.
pub const HEARD_MAX: usize = 16;

/// Commits read at once.
const PAGE: usize = 1_000;

/// Until nobody hears it any more.
pub async fn follow(log: Arc<dyn Log>, shared: Arc<Shared>, hear: mpsc::Sender<Vec<Arc<Commit>>>, every: Duration) {
    let mut failed = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = hear.closed() => return,
        }
        let from = shared.head.load().state.revision;
        let read = log.read(from, PAGE).await;
        match &read {
            Err(error) if !failed => tracing::warn!(%error, "what others append is not seen for now"),
            Ok(_) if failed => tracing::info!("what others append is seen again"),
            _ => {}
        }
        failed = read.is_err();
        let Ok(commits) = read else { continue };
        if !commits.is_empty() && hear.send(commits.into_iter().map(Arc::new).collect()).await.is_err() {
            return;
        }
    }
}

//! What other control planes append to a shared log. It is looked for again and again; who knows of something sooner says
//! so, and it is looked for at once.

use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use shared::change::Commit;
use shared::time::Time;
use tokio::sync::mpsc;

use super::Shared;
use crate::store::Log;

/// Reads that may wait for the writer.
pub const HEARD_MAX: usize = 16;

/// Commits read at once.
const PAGE: usize = 1_000;

/// What a read found.
pub struct Heard {
    pub commits: Vec<Arc<Commit>>,
    /// When the read began, if there was no more to find.
    pub whole: Option<Time>,
}

/// Until nobody hears it any more.
pub async fn follow(log: Arc<dyn Log>, shared: Arc<Shared>, hear: mpsc::Sender<Heard>, every: Duration) {
    let mut failed = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.look.notified() => {}
            () = hear.closed() => return,
        }
        let from = shared.head.load().state.revision;
        let began = boottime();
        let read = log.read(from, PAGE).await;
        match &read {
            Err(error) if !failed => tracing::warn!(%error, "what others append is not seen for now"),
            Ok(_) if failed => tracing::info!("what others append is seen again"),
            _ => {}
        }
        failed = read.is_err();
        let Ok(commits) = read else { continue };
        let heard = Heard {
            whole: (commits.len() < PAGE).then_some(began),
            commits: commits.into_iter().map(Arc::new).collect(),
        };
        if hear.send(heard).await.is_err() {
            return;
        }
    }
}

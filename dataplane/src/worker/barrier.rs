use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Command;

/// A point that every worker passes.
///
/// A request looks at the view a last time and is sent; a moment lies between the two. Who swaps the view and then lets all
/// workers pass knows that whatever was decided on the view before has left the proxy, or never will. It costs requests
/// nothing.
#[derive(Clone, Default)]
pub struct Barrier(Vec<mpsc::WeakSender<Command>>);

/// One that takes longer is worth a word. There is no deadline: of a worker that stands still nobody can say what it will
/// send when it goes on, so that whoever waits for this may not be told that it is over.
const EXPECTED_WITHIN: Duration = Duration::from_secs(5);

impl Barrier {
    pub(super) fn of(workers: &[mpsc::Sender<Command>]) -> Barrier {
        Barrier(workers.iter().map(mpsc::Sender::downgrade).collect())
    }

    /// Waits until each has passed that has not ended.
    pub async fn passed(self) {
        let mut all = Box::pin(self.all());
        while timeout(EXPECTED_WITHIN, &mut all).await.is_err() {
            tracing::error!("a worker stands still: what was revoked is not acknowledged until it goes on");
        }
    }

    async fn all(self) {
        let mut answers = Vec::new();
        for worker in &self.0 {
            let (passed, answer) = oneshot::channel();
            let Some(worker) = worker.upgrade() else { continue };
            if worker.send(Command::Pass { passed }).await.is_ok() {
                answers.push(answer);
            }
        }
        for answer in answers {
            // An error: it has ended meanwhile, and its connections with it.
            let _ = answer.await;
        }
    }
}

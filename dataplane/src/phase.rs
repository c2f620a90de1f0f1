//! What the proxy as a whole is doing. The synchronisation and the shutdown say it; workers and the status port act by it.
//!
//! ```text
//! Starting → Serving ⇄ Unready | Stopped      anything → Draining, for good
//! ```

use std::sync::Arc;

pub use shared::stream::subscriber::Phase;
use tokio::sync::watch;

pub type PhaseReceiver = watch::Receiver<Phase>;

#[derive(Clone)]
pub struct PhaseSender(Arc<watch::Sender<Phase>>);

/// For the log.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Serving { stale: false } => "serving",
        Phase::Serving { stale: true } => "serving without word from a control plane",
        Phase::Unready => "unready",
        Phase::Stopped => "stopped",
        Phase::Draining => "draining",
    }
}

pub fn channel() -> (PhaseSender, PhaseReceiver) {
    let (sender, receiver) = watch::channel(Phase::Starting);
    (PhaseSender(Arc::new(sender)), receiver)
}

impl PhaseSender {
    /// After `Draining` nothing else is taken: a lease that is renewed during the shutdown must not open it again.
    pub fn set(&self, next: Phase) {
        self.0.send_if_modified(|phase| {
            let taken = *phase != next && *phase != Phase::Draining;
            if taken {
                tracing::info!(before = word(*phase), "the proxy is {}", word(next));
                *phase = next;
            }
            taken
        });
    }

    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    pub fn subscribe(&self) -> PhaseReceiver {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_draining() {
        let (sender, receiver) = channel();
        assert!(!receiver.borrow().is_open());
        sender.set(Phase::Serving { stale: false });
        assert!(receiver.borrow().is_ready());
        sender.set(Phase::Draining);
        sender.set(Phase::Serving { stale: false });
        assert_eq!(*receiver.borrow(), Phase::Draining);
    }
}

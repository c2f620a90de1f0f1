//! What the proxy as a whole is doing. The synchronisation and the shutdown say it; workers and the status port act by it.
//!
//! ```text
//! Starting → Serving ⇄ Unready | Stopped      anything → Draining, for good
//! ```

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no table yet, or one from disk that has not caught up: the data listeners are not bound.
    Starting,
    /// `stale`: no control plane has been heard within the lease, or none at all since a start from disk.
    Serving { stale: bool },
    /// The lease is over, and load balancers shall look elsewhere; whoever comes all the same is served.
    Unready,
    /// The lease is over, and nothing may be served: listeners closed, what is under way finished or cut.
    Stopped,
    /// The process ends.
    Draining,
}

impl Phase {
    pub fn is_ready(self) -> bool {
        matches!(self, Phase::Serving { .. })
    }

    /// Whether the data listeners are to be open.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Serving { .. } | Phase::Unready)
    }

    /// Whether connections that are kept alive end with the request that is under way, if one is.
    pub fn ends_keep_alives(self) -> bool {
        matches!(self, Phase::Stopped | Phase::Draining)
    }
}

pub type PhaseReceiver = watch::Receiver<Phase>;

#[derive(Clone)]
pub struct PhaseSender(Arc<watch::Sender<Phase>>);

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
                tracing::info!(from = ?phase, to = ?next, "phase");
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

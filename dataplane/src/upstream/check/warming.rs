use std::sync::{Arc, Mutex, PoisonError, Weak};

use shared::stream::message;
use tokio::sync::watch;

use super::super::health::Checked;
use crate::upstream::endpoint::Endpoint;

/// In the order in which they came.
#[derive(Default)]
pub(super) struct WarmingSet {
    list: Mutex<Vec<Weak<Endpoint>>>,
    passed: watch::Sender<u64>,
}

impl WarmingSet {
    pub(super) fn add(&self, endpoint: &Arc<Endpoint>) {
        endpoint.health().set_checked(Checked::Warming);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(Arc::downgrade(endpoint));
    }

    pub(super) fn signal(&self) {
        self.passed.send_modify(|times| *times = times.wrapping_add(1));
    }

    pub(super) fn passed(&self) -> watch::Receiver<u64> {
        self.passed.subscribe()
    }

    /// One that has passed, or is retired, is out for good.
    pub(super) fn level(&self) -> Vec<message::Warming> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut level = Vec::new();
        list.retain(|endpoint| {
            let endpoint = endpoint.upgrade();
            let endpoint = endpoint.filter(|one| one.is_warming() && !one.is_retired());
            level.extend(endpoint.as_deref().and_then(told));
            endpoint.is_some()
        });
        level
    }
}

fn told(endpoint: &Endpoint) -> Option<message::Warming> {
    let identity = endpoint.identity();
    let last = endpoint.checkup().get()?.last().clone();
    Some(message::Warming {
        service: identity.service.shared(),
        id: identity.id.shared(),
        registration: identity.registration,
        last,
    })
}

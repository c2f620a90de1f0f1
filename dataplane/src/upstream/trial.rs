//! Trying whether an upstream that was set aside is well again: requests that have nothing else do, up to a number, and
//! once its pause is over the proxy itself, so that no request needs to.

use std::sync::{Arc, Mutex, PoisonError};

use shared::model::Timeouts;
use tokio::sync::mpsc;

use super::endpoint::Endpoint;

/// Waiting to be probed, of all upstreams. Whoever finds no place is seen to be in doubt by the next request as well.
const DUE_MAX: usize = 1024;

/// A request at an upstream that is in doubt, until this is dropped: when its answer has begun, or it has failed.
pub struct Trial(Arc<Endpoint>);

/// It is being tried by as many as may.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowded;

impl Trial {
    /// None where nothing is in doubt.
    pub fn begin(endpoint: &Arc<Endpoint>) -> Result<Option<Trial>, Crowded> {
        let health = endpoint.health();
        if health.doubt().is_none() {
            return Ok(None);
        }
        match health.begin_trial() {
            true => Ok(Some(Trial(endpoint.clone()))),
            false => Err(Crowded),
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.health().end_trial();
    }
}

/// The only one that is to be, or is, made of an endpoint, until this is dropped.
pub struct Probe {
    pub endpoint: Arc<Endpoint>,
    /// Those of the service whose request came by.
    pub timeouts: Timeouts,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.endpoint.health().end_probe();
    }
}

/// The way from workers, which see who is in doubt, to whoever finds out.
pub struct Probes {
    due: mpsc::Sender<Probe>,
    taken: Mutex<Option<mpsc::Receiver<Probe>>>,
}

impl Default for Probes {
    fn default() -> Probes {
        let (due, taken) = mpsc::channel(DUE_MAX);
        Probes {
            due,
            taken: Mutex::new(Some(taken)),
        }
    }
}

impl Probes {
    /// It is in doubt, its pause is over, and there is somebody whom that would serve.
    pub fn call_for(&self, endpoint: &Arc<Endpoint>, timeouts: &Timeouts) {
        if endpoint.health().begin_probe() {
            // Refused, it is dropped.
            let _ = self.due.try_send(Probe {
                endpoint: endpoint.clone(),
                timeouts: *timeouts,
            });
        }
    }

    /// For the one who makes them; the first caller's.
    pub(super) fn take(&self) -> Option<mpsc::Receiver<Probe>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

//! What a proxy knows of a service's upstreams together. It outlives every swap that leaves the service in the table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::StatusCode;
use shared::model::{ServiceName, UpstreamCare};

use super::budget::Budget;
use super::endpoint::Endpoint;
use super::health::{Doubt, Health};
use super::queue::Queue;
use super::trial::Probes;
use crate::counts::{Counts, ServiceCounts};

pub struct Care {
    budget: Budget,
    ejections: Mutex<Ejections>,
    queue: Queue,
    is_held: AtomicBool,
    probes: Arc<Probes>,
    counts: OnceLock<Arc<ServiceCounts>>,
}

#[derive(Default)]
struct Ejections {
    /// How many upstreams take requests, were they all well.
    size: usize,
    list: Vec<Weak<Endpoint>>,
}

impl Care {
    #[cfg(test)]
    pub(crate) fn new(workers: usize) -> Care {
        Care::probed(workers, Arc::default())
    }

    pub(crate) fn probed(workers: usize, probes: Arc<Probes>) -> Care {
        Care {
            budget: Budget::new(workers),
            ejections: Mutex::default(),
            queue: Queue::default(),
            is_held: AtomicBool::new(false),
            probes,
            counts: OnceLock::new(),
        }
    }

    /// By whom those of its upstreams are tried that are in doubt.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Of the service, which is the one that this is the care of.
    pub fn counts(&self, all: &Counts, service: &ServiceName) -> &Arc<ServiceCounts> {
        self.counts.get_or_init(|| all.services.of(service))
    }

    /// Whether new requests of the service wait. Sequentially consistent, as `Entered::confirm` needs it.
    pub fn is_held(&self) -> bool {
        self.is_held.load(Ordering::SeqCst)
    }

    pub(crate) fn set_held(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::SeqCst);
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Requests that wait for a place at any of its upstreams.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How many upstreams take requests, were they all well.
    pub fn size(&self) -> usize {
        self.ejections().size
    }

    /// No requests for it until then, if the service can spare it: never more than half of its upstreams are ejected at a
    /// time, half an upstream being none.
    pub fn eject(&self, endpoint: &Arc<Endpoint>, now: Instant, duration: Duration) -> bool {
        self.set_aside(endpoint, now, |health| health.eject(now + duration))
    }

    /// One whose answers are errors, one after another, is set aside.
    pub fn judge(&self, endpoint: &Arc<Endpoint>, settings: &UpstreamCare, status: StatusCode) {
        let errors = endpoint.health().answered(status.is_server_error());
        if errors > 0 && settings.eject_after > 0 && errors.is_multiple_of(settings.eject_after) {
            self.eject(endpoint, Instant::now(), settings.eject_for);
        }
    }

    /// It gave no answer, or half of one, over a connection that it took: ejected for a pause that grows, and tried after
    /// it, as after a connection that it did not take.
    pub fn suspend(&self, endpoint: &Arc<Endpoint>, doubt: Doubt, now: Instant) -> bool {
        self.set_aside(endpoint, now, |health| health.suspend(doubt, now + health.next_pause()))
    }

    fn set_aside(&self, endpoint: &Arc<Endpoint>, now: Instant, by: impl FnOnce(&Health)) -> bool {
        let mut ejections = self.ejected_at(now);
        let health = endpoint.health();
        if health.is_set_aside(|| now) {
            return true;
        }
        if !endpoint.identity().is_registered() {
            // No part of the service's strength: set aside it is used all the same where nobody better was named.
            by(health);
            return true;
        }
        // One that was being tried is in the list.
        ejections.list.retain(|other| other.as_ptr() != Arc::as_ptr(endpoint));
        if endpoint.is_retired() || ejections.list.len() >= ejections.size / 2 {
            health.reinstate();
            return false;
        }
        by(health);
        ejections.list.push(Arc::downgrade(endpoint));
        true
    }

    /// The service has so many upstreams now. Those whose time is over first come back if fewer may be ejected.
    pub(crate) fn resize(&self, size: usize, now: Instant) {
        self.queue.free_all();
        let mut ejections = self.ejections();
        ejections.size = size;
        if ejections.list.is_empty() {
            return;
        }
        drop(ejections);
        let mut ejections = self.ejected_at(now);
        let until = |endpoint: &Weak<Endpoint>| endpoint.upgrade().map_or(0, |one| one.health().ejected_until());
        ejections.list.sort_by_key(until);
        let beyond = ejections.list.len().saturating_sub(size / 2);
        for endpoint in ejections.list.drain(..beyond).filter_map(|one| one.upgrade()) {
            endpoint.health().reinstate();
        }
    }

    fn ejections(&self) -> MutexGuard<'_, Ejections> {
        self.ejections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With those alone that are.
    fn ejected_at(&self, now: Instant) -> MutexGuard<'_, Ejections> {
        let mut ejections = self.ejections();
        ejections.list.retain(|endpoint| {
            let endpoint = endpoint.upgrade();
            endpoint.is_some_and(|one| !one.is_retired() && one.health().is_ejected(|| now))
        });
        ejections
    }
}

//! What was retired with something in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shared::stream::message;

use crate::upstream::endpoint::Endpoint;

/// Bounded by what is in flight: an endpoint is in it only while something is.
#[derive(Default)]
pub(super) struct DrainingSet(Mutex<Vec<Retiree>>);

struct Retiree {
    endpoint: Arc<Endpoint>,
    /// None: further away than the clock reaches.
    cut_at: Option<Instant>,
}

impl DrainingSet {
    pub(super) fn add(&self, retired: impl Iterator<Item = (Arc<Endpoint>, Option<Instant>)>) {
        let retired = retired.map(|(endpoint, cut_at)| Retiree { endpoint, cut_at });
        self.pruned().extend(retired);
    }

    pub(super) fn level(&self) -> Vec<message::Draining> {
        let level = self.pruned();
        let level = level
            .iter()
            .map(|Retiree { endpoint, .. }| told(endpoint, endpoint.in_flight()));
        // Who ended since the look above.
        level.filter(|draining| draining.in_flight > 0).collect()
    }

    pub(super) fn cut_overdue(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for Retiree { endpoint, cut_at } in self.pruned().iter() {
            match cut_at {
                Some(at) if *at <= now => endpoint.cut_token().cancel(),
                Some(at) => next = Some(next.map_or(*at, |next: Instant| next.min(*at))),
                None => {}
            }
        }
        next
    }

    /// Whoever was seen with nothing in flight is out for good, whatever undone steps make of the count afterwards.
    fn pruned(&self) -> MutexGuard<'_, Vec<Retiree>> {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.retain(|retiree| retiree.endpoint.in_flight() > 0);
        set
    }
}

pub(super) fn told(endpoint: &Endpoint, in_flight: u64) -> message::Draining {
    let identity = endpoint.identity();
    message::Draining {
        service: identity.service.shared(),
        id: identity.id.shared(),
        address: identity.address.shared(),
        registration: identity.registration,
        in_flight,
    }
}

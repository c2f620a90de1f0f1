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
    pub(super) fn add(&self, endpoint: Arc<Endpoint>, cut_at: Option<Instant>) {
        self.lock().push(Retiree { endpoint, cut_at });
    }

    /// Whoever was seen with nothing in flight is out for good, whatever undone steps make of the count afterwards.
    pub(super) fn level(&self) -> Vec<message::Draining> {
        let mut level = Vec::new();
        self.lock().retain(|Retiree { endpoint, .. }| {
            let in_flight = endpoint.in_flight();
            if in_flight > 0 {
                let identity = endpoint.identity();
                level.push(message::Draining {
                    service: identity.service.shared(),
                    id: identity.id.shared(),
                    address: identity.address.shared(),
                    registration: identity.registration,
                    in_flight,
                });
            }
            in_flight > 0
        });
        level
    }

    pub(super) fn cut_overdue(&self, now: Instant) -> Option<Instant> {
        let set = self.lock();
        let mut next = None;
        for Retiree { endpoint, cut_at } in set.iter() {
            match cut_at {
                Some(at) if *at <= now => endpoint.cut_token().cancel(),
                Some(at) => next = Some(next.map_or(*at, |next: Instant| next.min(*at))),
                None => {}
            }
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Retiree>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

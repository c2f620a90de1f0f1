//! Registrations across services: who is at an address, and who waits for a service.

use std::cmp::Ordering;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, OrdSet};

use super::entry::Registered;
use crate::model::{Address, ServiceName, Upstream, UpstreamId};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Upstreams {
    /// Of live registrations. One ordered set, since most addresses have a single registration.
    addresses: OrdSet<(Address, ServiceName, UpstreamId)>,
    /// Registrations without a service, kept as they would stand with it.
    orphans: OrdMap<(ServiceName, UpstreamId), Arc<Registered>>,
}

/// Stands just before every key whose first part is this.
struct Before<'a, T>(&'a T);

impl<T: Ord, A, B> Comparable<(T, A, B)> for Before<'_, T> {
    fn compare(&self, key: &(T, A, B)) -> Ordering {
        self.0.cmp(&key.0).then(Ordering::Less)
    }
}

impl<T: Ord, A> Comparable<(T, A)> for Before<'_, T> {
    fn compare(&self, key: &(T, A)) -> Ordering {
        self.0.cmp(&key.0).then(Ordering::Less)
    }
}

impl<T: Ord, K> Equivalent<K> for Before<'_, T>
where
    Self: Comparable<K>,
{
    fn equivalent(&self, key: &K) -> bool {
        self.compare(key) == Ordering::Equal
    }
}

impl Upstreams {
    pub fn at(&self, address: &Address) -> impl Iterator<Item = (&ServiceName, &UpstreamId)> {
        let from = self
            .addresses
            .range((std::ops::Bound::Included(Before(address)), std::ops::Bound::Unbounded));
        let sought = address.clone();
        from.take_while(move |(at, _, _)| *at == sought)
            .map(|(_, service, id)| (service, id))
    }

    pub fn came(&mut self, upstream: &Upstream) {
        self.addresses.insert(place(upstream));
    }

    pub fn left(&mut self, upstream: &Upstream) {
        self.addresses.remove(&place(upstream));
    }

    pub fn park(&mut self, registered: Arc<Registered>) {
        let Upstream { service, id, .. } = &registered.upstream;
        self.orphans.insert((service.clone(), id.clone()), registered);
    }

    pub fn forget(&mut self, service: &ServiceName, id: &UpstreamId) {
        self.orphans.remove(&(service.clone(), id.clone()));
    }

    /// Takes out what waits for `service`.
    pub fn adopt(&mut self, service: &ServiceName) -> Vec<Arc<Registered>> {
        let from = self
            .orphans
            .range((std::ops::Bound::Included(Before(service)), std::ops::Bound::Unbounded));
        let waiting: Vec<Arc<Registered>> = from
            .take_while(|((of, _), _)| of == service)
            .map(|(_, registered)| registered.clone())
            .collect();
        for registered in &waiting {
            self.forget(service, &registered.upstream.id);
        }
        waiting
    }
}

fn place(upstream: &Upstream) -> (Address, ServiceName, UpstreamId) {
    (upstream.address.clone(), upstream.service.clone(), upstream.id.clone())
}

//! Registrations across services: who is at an address, and who waits for a service.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdMap;

use super::entry::Registered;
use super::index::HashMap;
use crate::model::{Address, ServiceName, Upstream, UpstreamId};

type Registrations = OrdMap<(ServiceName, UpstreamId), Arc<Registered>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Upstreams {
    /// Live registrations by address.
    places: HashMap<Arc<str>, Place>,
    /// Registrations without a service, kept as they would stand with it.
    orphans: Registrations,
}

/// Who is at an address: hardly ever more than one.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    One(Arc<Registered>),
    More(Arc<Registrations>),
}

impl Upstreams {
    /// Ordered by service and id.
    pub fn at(&self, address: &Address) -> impl Iterator<Item = &Upstream> {
        let (one, more) = match self.places.get(address.as_str()) {
            None => (None, None),
            Some(Place::One(registered)) => (Some(registered), None),
            Some(Place::More(registrations)) => (None, Some(registrations.values())),
        };
        one.into_iter()
            .chain(more.into_iter().flatten())
            .map(|registered| &registered.upstream)
    }

    pub fn came(&mut self, registered: Arc<Registered>) {
        let address = &registered.upstream.address;
        let Some(place) = self.places.get_mut(address.as_str()) else {
            self.places.insert(address.shared(), Place::One(registered));
            return;
        };
        match place {
            Place::One(other) => {
                let both = [other.clone(), registered].into_iter();
                let both: Registrations = both.map(|registered| (key(&registered.upstream), registered)).collect();
                *place = Place::More(Arc::new(both));
            }
            Place::More(registrations) => {
                Arc::make_mut(registrations).insert(key(&registered.upstream), registered);
            }
        }
    }

    pub fn left(&mut self, upstream: &Upstream) {
        let Some(place) = self.places.get_mut(upstream.address.as_str()) else {
            return;
        };
        let Place::More(registrations) = place else {
            self.places.remove(upstream.address.as_str());
            return;
        };
        let registrations = Arc::make_mut(registrations);
        registrations.remove(&key(upstream));
        if let (1, Some((_, last))) = (registrations.len(), registrations.get_min()) {
            *place = Place::One(last.clone());
        }
    }

    pub fn park(&mut self, registered: Arc<Registered>) {
        self.orphans.insert(key(&registered.upstream), registered);
    }

    pub fn forget(&mut self, service: &ServiceName, id: &UpstreamId) {
        self.orphans.remove(&(service.clone(), id.clone()));
    }

    /// Takes out what waits for `service`.
    pub fn adopt(&mut self, service: &ServiceName) -> Vec<Arc<Registered>> {
        let from = self.orphans.range((Bound::Included(Before(service)), Bound::Unbounded));
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

fn key(upstream: &Upstream) -> (ServiceName, UpstreamId) {
    (upstream.service.clone(), upstream.id.clone())
}

/// Stands just before every key of this service.
struct Before<'a>(&'a ServiceName);

impl<T> Comparable<(ServiceName, T)> for Before<'_> {
    fn compare(&self, key: &(ServiceName, T)) -> Ordering {
        self.0.cmp(&key.0).then(Ordering::Less)
    }
}

impl<T> Equivalent<(ServiceName, T)> for Before<'_> {
    fn equivalent(&self, _: &(ServiceName, T)) -> bool {
        false
    }
}

//! Addresses that an authorizer named and nobody has registered: endpoints for as long as they are in use. They are beyond
//! what an unregister promises: nobody waits for what is in flight there, and nothing cuts it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::change::Revision;
use shared::model::{Address, ServiceName, UpstreamId};
use shared::stream::message::Busy;
use tokio_util::sync::CancellationToken;

use super::care::Care;
use super::endpoint::{DrainSignal, Endpoint, Identity};
use super::resolve::Names;

/// Of a whole proxy. Beyond it the one goes that was not used for longest.
const STRAYS_MAX: usize = 1024;
/// Longer than a connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(10);

/// An address for the requests of one service, whose settings hold there.
type Place = (ServiceName, Address);

#[derive(Default)]
pub struct Strays {
    workers: usize,
    names: Arc<Names>,
    drained: Arc<DrainSignal>,
    known: Mutex<HashMap<Place, Stray>>,
}

struct Stray {
    endpoint: Arc<Endpoint>,
    used_at: Instant,
}

/// Whether a server may be there: no group of hosts is one, and "any" address of this host is none of another.
pub fn is_of_a_server(address: &Address) -> bool {
    address.ip().is_none_or(|ip| {
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        !(ip.is_unspecified() || ip.is_multicast() || is_broadcast)
    })
}

impl Strays {
    pub(crate) fn new(workers: usize, names: Arc<Names>, drained: Arc<DrainSignal>) -> Strays {
        Strays {
            workers,
            names,
            drained,
            known: Mutex::default(),
        }
    }

    /// What is known of an address.
    pub fn known(&self, service: &ServiceName, address: &Address) -> Option<Arc<Endpoint>> {
        let stray = self.lock();
        let stray = stray.get(&(service.clone(), address.clone()));
        stray.map(|stray| stray.endpoint.clone())
    }

    /// An endpoint for it, whose failures are a part of this care. None: it has no place among those that are in use.
    pub fn endpoint(&self, service: &ServiceName, address: &Address, care: &Arc<Care>) -> Option<Arc<Endpoint>> {
        self.endpoint_at(service, address, care, Instant::now())
    }

    fn endpoint_at(
        &self,
        service: &ServiceName,
        address: &Address,
        care: &Arc<Care>,
        now: Instant,
    ) -> Option<Arc<Endpoint>> {
        let place = (service.clone(), address.clone());
        let known = &mut *self.lock();
        if let Some(stray) = known.get_mut(&place) {
            // That of a service which has come again is another.
            if Arc::ptr_eq(stray.endpoint.care(), care) {
                stray.used_at = now;
                return Some(stray.endpoint.clone());
            }
            leave(known, &place);
        }
        if known.len() >= STRAYS_MAX {
            let oldest = oldest(known)?;
            leave(known, &oldest);
        }
        let identity = Identity {
            service: service.clone(),
            id: UpstreamId::try_from(address.as_str()).ok()?,
            address: address.clone(),
            registration: Revision::ZERO,
        };
        let targets = self.names.targets(address);
        let (care, drained) = (care.clone(), self.drained.clone());
        let endpoint = Arc::new(Endpoint::new(identity, self.workers, targets, care, drained));
        let stray = Stray {
            endpoint: endpoint.clone(),
            used_at: now,
        };
        known.insert(place, stray);
        Some(endpoint)
    }

    /// Those of one service with requests in flight, over all workers.
    pub fn busy(&self, service: &ServiceName) -> Vec<Busy> {
        let known = self.lock();
        let own = known.iter().filter(|((of, _), _)| of == service);
        own.filter_map(|(_, stray)| stray.endpoint.busy()).collect()
    }

    /// Forgets those that are not used any more, until `stop`.
    pub async fn keep(self: Arc<Strays>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => self.sweep(Instant::now()),
            }
        }
    }

    fn sweep(&self, now: Instant) {
        let known = &mut *self.lock();
        let idle: Vec<Place> = known
            .iter()
            .filter(|(_, stray)| now.saturating_duration_since(stray.used_at) >= IDLE_MAX)
            .filter(|(_, stray)| stray.endpoint.in_flight() == 0)
            .map(|(place, _)| place.clone())
            .collect();
        idle.iter().for_each(|place| leave(known, place));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Stray>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has just chosen it sees that it is retired, and chooses again.
fn leave(known: &mut HashMap<Place, Stray>, place: &Place) {
    if let Some(stray) = known.remove(place) {
        stray.endpoint.retire();
        stray.endpoint.retired_token().cancel();
    }
}

/// None while all are in use.
fn oldest(known: &HashMap<Place, Stray>) -> Option<Place> {
    let idle = known.iter().filter(|(_, stray)| stray.endpoint.in_flight() == 0);
    let oldest = idle.min_by_key(|(_, stray)| stray.used_at);
    oldest.map(|(place, _)| place.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        text.try_into().unwrap()
    }

    fn address(text: &str) -> Address {
        text.try_into().unwrap()
    }

    fn strays() -> Strays {
        Strays::new(1, Arc::default(), Arc::default())
    }

    #[test]
    fn an_address_is_one_endpoint_for_a_service_as_long_as_it_is_used() {
        let (strays, care) = (strays(), Arc::new(Care::new(1)));
        let now = Instant::now();
        let at = |service: &str, port: u16, care: &Arc<Care>| {
            let address = address(&format!("127.0.0.1:{port}"));
            strays.endpoint_at(&name(service), &address, care, now).unwrap()
        };
        let first = at("web", 1, &care);
        assert!(!first.identity().is_registered());
        assert!(Arc::ptr_eq(&first, &at("web", 1, &care)));
        assert!(!Arc::ptr_eq(&first, &at("web", 2, &care)));
        assert!(!Arc::ptr_eq(&first, &at("other", 1, &care)));
        let again = at("web", 1, &Arc::new(Care::new(1)));
        assert!(
            !Arc::ptr_eq(&first, &again) && first.is_retired(),
            "the service came again"
        );

        let busy = again.clone().enter().confirm().ok().unwrap();
        assert_eq!(
            (strays.busy(&name("web")).len(), strays.busy(&name("other")).len()),
            (1, 0)
        );
        strays.sweep(now + IDLE_MAX);
        assert!(strays.known(&name("web"), &address("127.0.0.1:1")).is_some());
        assert!(strays.known(&name("web"), &address("127.0.0.1:2")).is_none());
        drop(busy);
        strays.sweep(now + IDLE_MAX);
        assert!(strays.lock().is_empty() && again.is_retired());
        assert!(again.enter().confirm().is_err(), "whoever has chosen it chooses again");
    }

    #[test]
    fn there_are_never_too_many() {
        let (strays, care) = (strays(), Arc::new(Care::new(1)));
        let (now, web) = (Instant::now(), name("web"));
        let nth = |n: usize| address(&format!("10.{}.{}.1:80", n / 256, n % 256));
        let at = |n: usize| {
            let later = now + Duration::from_millis(n as u64);
            strays.endpoint_at(&web, &nth(n), &care, later)
        };
        let busy = at(0).unwrap().enter().confirm().ok().unwrap();
        for n in 1..3 * STRAYS_MAX {
            assert!(at(n).is_some());
            assert!(strays.lock().len() <= STRAYS_MAX);
        }
        assert!(strays.known(&web, &nth(0)).is_some(), "it is in use");
        assert!(strays.known(&web, &nth(STRAYS_MAX)).is_none());
        assert!(strays.known(&web, &nth(3 * STRAYS_MAX - 1)).is_some());
        let all: Vec<_> = strays.lock().values().map(|stray| stray.endpoint.clone()).collect();
        let held: Vec<_> = all.into_iter().map(|one| one.enter().confirm().ok().unwrap()).collect();
        assert!(at(0).is_some() && at(1).is_none(), "no place");
        drop((busy, held));
        assert!(at(1).is_some());
    }

    #[test]
    fn one_that_gives_errors_is_set_aside_and_no_part_of_the_services_strength() {
        let (strays, care) = (strays(), Arc::new(Care::new(1)));
        let now = Instant::now();
        let one = strays.endpoint(&name("web"), &address("127.0.0.1:1"), &care).unwrap();
        assert!(care.eject(&one, now, Duration::from_secs(60)));
        assert!(one.health().is_ejected(|| now));
    }

    #[test]
    fn which_addresses_are_none_of_a_server() {
        for none in [
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "[ff02::1]:80",
            "255.255.255.255:80",
        ] {
            assert!(!is_of_a_server(&address(none)), "{none}");
        }
        for server in ["127.0.0.1:80", "[::1]:80", "10.0.0.1:80", "a.internal:80"] {
            assert!(is_of_a_server(&address(server)), "{server}");
        }
    }
}

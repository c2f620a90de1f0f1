//! How the upstreams are, for a control plane that asks.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use shared::model::{Address, ServiceName};
use shared::stream::message::{About, Query, Seen, UPSTREAMS_MAX, Upstreams};

use super::traffic;
use crate::counts::Counts;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::Standing;
use crate::view::View;

/// By what comes first in the answer: what is not up, what has something in flight, the rest; then by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    standing: Standing,
    is_idle: bool,
    service: Arc<str>,
    id: Arc<str>,
    in_flight: u64,
}

/// It may look at all that there are: not for a thread that has anything else to do.
pub fn look(query: &Query, view: &View, counts: &Counts) -> Upstreams {
    match &query.about {
        Some(About::Service { service, after }) => told(query.id, of_service(service, after, view)),
        Some(About::Address { address, after }) => told(query.id, at_address(address, after, view).into_iter()),
        Some(About::Traffic { named }) => Upstreams {
            id: query.id,
            list: Vec::new(),
            more: 0,
            traffic: Some(traffic::sums(*named, counts)),
        },
        None => look_around(query.id, view),
    }
}

fn of_service<'a>(service: &str, after: &'a str, view: &'a View) -> impl Iterator<Item = &'a Arc<Endpoint>> {
    let service = ServiceName::try_from(service).ok();
    let pool = service.and_then(|service| view.pool(&service));
    let endpoints = pool.into_iter().flat_map(|pool| pool.registered());
    endpoints.filter(move |endpoint| endpoint.identity().id.as_str() > after)
}

/// As many as there are services at most, commonly one.
fn at_address<'a>(address: &str, after: &str, view: &'a View) -> Vec<&'a Arc<Endpoint>> {
    let address = Address::try_from(address).ok();
    let registrations = address.iter().flat_map(|address| view.table().at(address));
    let keyed = registrations.filter_map(|(service, id)| {
        let endpoint = view.pool(service)?.endpoint(id)?;
        Some((format!("{service}/{id}"), endpoint))
    });
    let mut keyed: Vec<_> = keyed.filter(|(key, _)| **key > *after).collect();
    keyed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    keyed.into_iter().map(|(_, endpoint)| endpoint).collect()
}

fn told<'a>(id: u64, mut endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) -> Upstreams {
    let seen = endpoints.by_ref().take(UPSTREAMS_MAX);
    let list = seen.map(|endpoint| Line::of(endpoint).seen()).collect();
    let more = endpoints.count() as u64;
    Upstreams {
        id,
        list,
        more,
        traffic: None,
    }
}

fn look_around(id: u64, view: &View) -> Upstreams {
    // The last of those that are kept is on top, and goes when one before it comes.
    let mut kept = BinaryHeap::new();
    let mut more = 0;
    for endpoint in view.pools().flat_map(|pool| pool.registered()) {
        kept.push(Line::of(endpoint));
        if kept.len() > UPSTREAMS_MAX {
            kept.pop();
            more += 1;
        }
    }
    let list = kept.into_sorted_vec().into_iter().map(Line::seen).collect();
    Upstreams {
        id,
        list,
        more,
        traffic: None,
    }
}

impl Line {
    fn of(endpoint: &Endpoint) -> Line {
        let identity = endpoint.identity();
        let in_flight = endpoint.in_flight();
        Line {
            standing: endpoint.health().standing(Instant::now),
            is_idle: in_flight == 0,
            service: identity.service.shared(),
            id: identity.id.shared(),
            in_flight,
        }
    }

    fn seen(self) -> Seen {
        Seen {
            service: self.service,
            id: self.id,
            health: self.standing.as_str().into(),
            in_flight: self.in_flight,
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::model::UpstreamId;

    use super::*;
    use crate::fixture::Registry;
    use crate::view::Views;

    fn endpoint(view: &View, id: &str) -> Arc<Endpoint> {
        let pool = view.pool(&ServiceName::try_from("web").unwrap()).unwrap();
        pool.endpoint(&UpstreamId::try_from(id).unwrap()).unwrap().clone()
    }

    #[test]
    fn what_is_not_as_usual_comes_first() {
        let views = Views::new(2);
        let mut registry = Registry::web("random");
        for n in 0..UPSTREAMS_MAX + 20 {
            registry.upstream(&format!("u{n:04}"), r#"{"address":"127.0.0.1:1"}"#);
        }
        registry.deploy(&views);
        let view = views.now();
        endpoint(&view, "u0500")
            .health()
            .failed(Instant::now() + std::time::Duration::from_secs(3_600));
        let _busy = endpoint(&view, "u1019").enter().confirm();
        let answer = look(&Query { id: 7, about: None }, &view, views.counts());
        assert_eq!((answer.id, answer.list.len(), answer.more), (7, UPSTREAMS_MAX, 20));
        let first: Vec<(&str, &str, u64)> = answer.list[..4]
            .iter()
            .map(|seen| (&*seen.id, &*seen.health, seen.in_flight))
            .collect();
        let expected = [
            ("u0500", "down", 0),
            ("u1019", "up", 1),
            ("u0000", "up", 0),
            ("u0001", "up", 0),
        ];
        assert_eq!(first, expected);
        assert_eq!(&*answer.list.last().unwrap().id, "u0998");

        let of = |service: &str, after: &str| {
            let about = Some(About::Service {
                service: service.into(),
                after: after.into(),
            });
            let answer = look(&Query { id: 8, about }, &view, views.counts());
            let ids = answer
                .list
                .iter()
                .map(|seen| (seen.id.to_string(), seen.health.to_string()));
            (ids.collect::<Vec<_>>(), answer.more)
        };
        let (first, more) = of("web", "");
        assert_eq!((first.len(), more), (UPSTREAMS_MAX, 20));
        assert_eq!(first[500], ("u0500".to_owned(), "down".to_owned()), "in their order");
        let (last, more) = of("web", "u1017");
        assert_eq!((last[1].0.as_str(), last.len(), more), ("u1019", 2, 0));
        assert_eq!(of("absent", ""), (vec![], 0));
        assert_eq!(of("No Name", ""), (vec![], 0));
    }

    #[test]
    fn an_address_is_asked_about_in_all_services() {
        let views = Views::new(2);
        let mut registry = Registry::web("random");
        for service in ["api", "shop"] {
            registry.service(service, r#"{"match":[]}"#);
        }
        let body = r#"{"address":"127.0.0.1:1"}"#;
        for key in ["web/b", "web/a", "shop/a", "api/a"] {
            registry.put(shared::change::Kind::Upstream, key, body);
        }
        registry.upstream("c", r#"{"address":"127.0.0.1:2"}"#);
        registry.upstream("d", r#"{"address":"127.0.0.1:1","state":"draining"}"#);
        registry.deploy(&views);
        let asked = |address: &str, after: &str| {
            let about = Some(About::Address {
                address: address.into(),
                after: after.into(),
            });
            let answer = look(&Query { id: 9, about }, &views.now(), views.counts());
            let keys = answer.list.iter().map(|seen| format!("{}/{}", seen.service, seen.id));
            keys.collect::<Vec<_>>()
        };
        assert_eq!(asked("127.0.0.1:1", ""), ["api/a", "shop/a", "web/a", "web/b"]);
        assert_eq!(asked("127.0.0.1:1", "shop/a"), ["web/a", "web/b"]);
        assert_eq!(asked("127.0.0.1:3", ""), [] as [&str; 0]);
        assert_eq!(asked("no address", ""), [] as [&str; 0]);
    }
}

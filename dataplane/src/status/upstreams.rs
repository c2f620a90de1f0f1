//! How the upstreams are, for a control plane that asks.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use shared::model::ServiceName;
use shared::stream::message::{Of, Query, Seen, UPSTREAMS_MAX, Upstreams};

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
pub fn look(query: &Query, view: &View) -> Upstreams {
    match &query.of {
        Some(of) => look_at(query.id, of, view),
        None => look_around(query.id, view),
    }
}

fn look_at(id: u64, of: &Of, view: &View) -> Upstreams {
    let service = ServiceName::try_from(&*of.service).ok();
    let pool = service.and_then(|service| view.pool(&service));
    let candidates = pool.iter().flat_map(|pool| pool.candidates());
    let mut asked = candidates.filter(|candidate| candidate.endpoint.identity().id.as_str() > &*of.after);
    let seen = asked.by_ref().take(UPSTREAMS_MAX);
    let list = seen.map(|candidate| Line::of(&candidate.endpoint).seen()).collect();
    let more = asked.count() as u64;
    Upstreams { id, list, more }
}

fn look_around(id: u64, view: &View) -> Upstreams {
    // The last of those that are kept is on top, and goes when one before it comes.
    let mut kept = BinaryHeap::new();
    let mut more = 0;
    for candidate in view.pools().flat_map(|pool| pool.candidates()) {
        kept.push(Line::of(&candidate.endpoint));
        if kept.len() > UPSTREAMS_MAX {
            kept.pop();
            more += 1;
        }
    }
    let list = kept.into_sorted_vec().into_iter().map(Line::seen).collect();
    Upstreams { id, list, more }
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
        let answer = look(&Query { id: 7, of: None }, &view);
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
            let of = Some(Of {
                service: service.into(),
                after: after.into(),
            });
            let answer = look(&Query { id: 8, of }, &view);
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
}

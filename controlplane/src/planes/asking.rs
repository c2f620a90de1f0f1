//! What only the control plane knows that has a proxy's stream: others ask it on behalf of whoever asks them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use net::duplex::{Address, Credentials, Requests};
use net::problem::{self, Problem};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::stream::message::{About, Upstreams};

use super::telling::Telling;
use crate::api::answer::Failure;
use crate::api::query::Query;

/// The proxy itself is given 2 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A thousand upstreams with long names.
const ANSWER_MAX: usize = 1 << 20;

/// `GET /v1/peers/upstreams/{proxy}?service=&after=`, `?address=&after=` or `?traffic=`, without any of all.
pub(super) async fn answer(
    State(telling): State<Arc<Telling>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = match Query::parse(query.as_deref(), &["service", "address", "after", "traffic"]) {
        Ok(query) => query,
        Err(problem) => return Failure::from(problem).into_response(),
    };
    let about = match about(&query) {
        Ok(about) => about,
        Err(problem) => return Failure::from(problem).into_response(),
    };
    match telling.fleet.upstreams(&name, about).await {
        Some(upstreams) => Json(upstreams).into_response(),
        None => Failure::from(Problem::new(problem::NOT_FOUND, "the proxy cannot be asked here")).into_response(),
    }
}

fn about(query: &Query) -> Result<Option<About>, Problem> {
    if let Some(named) = query.number("traffic")? {
        return Ok(Some(About::Traffic { named }));
    }
    let after = query.value("after").unwrap_or_default().into();
    Ok(match (query.value("service"), query.value("address")) {
        (Some(service), _) => Some(About::Service {
            service: service.into(),
            after,
        }),
        (None, Some(address)) => Some(About::Address {
            address: address.into(),
            after,
        }),
        (None, None) => None,
    })
}

/// As `answer` reads it.
fn path(name: &str, about: Option<&About>) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let path = format!("/v1/peers/upstreams/{}", encoded(name));
    match about {
        Some(About::Service { service, after }) => {
            format!("{path}?service={}&after={}", encoded(service), encoded(after))
        }
        Some(About::Address { address, after }) => {
            format!("{path}?address={}&after={}", encoded(address), encoded(after))
        }
        Some(About::Traffic { named }) => format!("{path}?traffic={named}"),
        None => path,
    }
}

/// How the upstreams of a proxy are whose stream is open at `url`. `None`: it cannot be asked now.
pub async fn upstreams(url: &str, credentials: Credentials, name: &str, about: Option<About>) -> Option<Upstreams> {
    tokio::time::timeout(ANSWER_WITHIN, ask(url, credentials, name, about))
        .await
        .ok()?
}

async fn ask(url: &str, credentials: Credentials, name: &str, about: Option<About>) -> Option<Upstreams> {
    let address = Address::parse(url).ok()?;
    let mut requests = Requests::dial(address, credentials).await.ok()?;
    let path = path(name, about.as_ref());
    let answer = requests.get(&path).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_reads_what_it_is_asked_about() {
        let service = About::Service {
            service: "web".into(),
            after: "[::1]:80".into(),
        };
        let address = About::Address {
            address: "[::1]:80".into(),
            after: "web/a&b".into(),
        };
        for asked in [None, Some(service), Some(address), Some(About::Traffic { named: 7 })] {
            let path = path("p/1", asked.as_ref());
            let (place, query) = path
                .split_once('?')
                .map_or((&*path, None), |(at, query)| (at, Some(query)));
            assert_eq!(place, "/v1/peers/upstreams/p%2F1");
            let query = Query::parse(query, &["service", "address", "after", "traffic"])
                .ok()
                .unwrap();
            assert_eq!(about(&query).ok().unwrap(), asked);
        }
    }
}

//! What only the control plane knows that has a proxy's stream: others ask it on behalf of whoever asks them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use net::duplex::{Address, Requests};
use net::problem::{self, Problem};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::stream::message::{Of, Upstreams};

use super::telling::Telling;
use crate::api::answer::Failure;
use crate::api::query::Query;

/// The proxy itself is given 2 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A thousand upstreams with long names.
const ANSWER_MAX: usize = 1 << 20;

/// `GET /v1/peers/upstreams/{proxy}?service=&after=`, without a service of all.
pub(super) async fn answer(
    State(telling): State<Arc<Telling>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = match Query::parse(query.as_deref(), &["service", "after"]) {
        Ok(query) => query,
        Err(problem) => return Failure::from(problem).into_response(),
    };
    let of = query.value("service").map(|service| Of {
        service: service.into(),
        after: query.value("after").unwrap_or_default().into(),
    });
    match telling.fleet.upstreams(&name, of).await {
        Some(upstreams) => Json(upstreams).into_response(),
        None => Failure::from(Problem::new(problem::NOT_FOUND, "the proxy cannot be asked here")).into_response(),
    }
}

/// How the upstreams of a proxy are whose stream is open at `url`. `None`: it cannot be asked now.
pub async fn upstreams(url: &str, token: Option<Arc<str>>, name: &str, of: Option<Of>) -> Option<Upstreams> {
    tokio::time::timeout(ANSWER_WITHIN, ask(url, token, name, of))
        .await
        .ok()?
}

async fn ask(url: &str, token: Option<Arc<str>>, name: &str, of: Option<Of>) -> Option<Upstreams> {
    let address = Address::parse(url).ok()?;
    let mut requests = Requests::dial(address, token).await.ok()?;
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let mut path = format!("/v1/peers/upstreams/{}", encoded(name));
    if let Some(Of { service, after }) = &of {
        path += &format!("?service={}&after={}", encoded(service), encoded(after));
    }
    let answer = requests.get(&path).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

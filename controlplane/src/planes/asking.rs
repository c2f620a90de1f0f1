//! What only the control plane knows that has a proxy's stream: others ask it on behalf of whoever asks them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use net::duplex::{Address, Requests};
use net::problem::{self, Problem};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::stream::message::Upstreams;

use super::telling::Telling;
use crate::api::answer::Failure;

/// The proxy itself is given 2 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A thousand upstreams with long names.
const ANSWER_MAX: usize = 1 << 20;

/// `GET /v1/peers/upstreams/{proxy}`
pub(super) async fn answer(State(telling): State<Arc<Telling>>, Path(name): Path<String>) -> Response {
    match telling.fleet.upstreams(&name).await {
        Some(upstreams) => Json(upstreams).into_response(),
        None => Failure::from(Problem::new(problem::NOT_FOUND, "the proxy cannot be asked here")).into_response(),
    }
}

/// How the upstreams of a proxy are whose stream is open at `url`. `None`: it cannot be asked now.
pub async fn upstreams(url: &str, token: Option<Arc<str>>, name: &str) -> Option<Upstreams> {
    tokio::time::timeout(ANSWER_WITHIN, ask(url, token, name)).await.ok()?
}

async fn ask(url: &str, token: Option<Arc<str>>, name: &str) -> Option<Upstreams> {
    let address = Address::parse(url).ok()?;
    let mut requests = Requests::dial(address, token).await.ok()?;
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let answer = requests.get(&format!("/v1/peers/upstreams/{name}")).await.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

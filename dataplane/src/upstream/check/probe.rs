//! One health check: a GET on a connection of its own, in flight like any request. And what it shares with a proof.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::Empty;
use shared::model::HealthCheck;
use tokio::time::{Instant, timeout, timeout_at};

use crate::upstream::connect::connect;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::talk::converse;

/// What people are told of it, either way.
pub(super) type Outcome = Result<Arc<str>, Arc<str>>;

/// An answer's body is read so far, and for so long, that the connection's end is an orderly one.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_WITHIN: Duration = Duration::from_millis(500);
const SAID_CHARS_MAX: usize = 200;

pub(super) async fn probe(endpoint: &Arc<Endpoint>, check: &HealthCheck) -> Outcome {
    // Whoever retires it waits for this as well.
    let Ok(_in_flight) = endpoint.clone().enter_to_check().confirm() else {
        return Err("it was unregistered".into());
    };
    let brief = |error: String| Arc::<str>::from(error.chars().take(SAID_CHARS_MAX).collect::<String>());
    let status = ask(endpoint, check).await.map_err(brief)?;
    let said = format!("status {status}").into();
    match check.expect.holds(status) {
        true => Ok(said),
        false => Err(said),
    }
}

async fn ask(endpoint: &Endpoint, check: &HealthCheck) -> Result<u16, String> {
    let deadline = Instant::now() + check.timeout;
    let late = |_| format!("no answer within {} ms", check.timeout.as_millis());
    let uri = Uri::try_from(&*check.path).map_err(|error| error.to_string())?;
    let request = request(endpoint, Method::GET, uri).map_err(|error| error.to_string())?;
    let stream = connect(endpoint, check.timeout)
        .await
        .map_err(|error| error.to_string())?;
    let answer = timeout_at(deadline, converse(stream, request)).await.map_err(late)?;
    let answer = answer.map_err(|error| format!("no answer: {error}"))?;
    let status = answer.status.as_u16();
    // Its status is what counts.
    let _ = timeout(BODY_WITHIN, answer.drain(BODY_BYTES_MAX)).await;
    Ok(status)
}

pub(super) fn request(endpoint: &Endpoint, method: Method, uri: Uri) -> Result<Request<Empty<Bytes>>, http::Error> {
    let host = HeaderValue::from_str(endpoint.identity().address.as_str())?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "vulcan-health-check")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
}

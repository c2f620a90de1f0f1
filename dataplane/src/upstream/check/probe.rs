//! One health check: a GET on a connection of its own, in flight like any request. And what it shares with a proof.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use shared::model::HealthCheck;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::upstream::connect::connect;
use crate::upstream::endpoint::Endpoint;

/// What people are told of it, either way.
pub(super) type Outcome = Result<Arc<str>, Arc<str>>;

const HEAD_BYTES_MAX: usize = 64 * 1024;
/// An answer's body is read so far, and for so long, that the connection's end is an orderly one.
const BODY_BYTES_MAX: usize = 64 * 1024;
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
    let exchange = async |mut sender: Sender| {
        let answer = timeout_at(deadline, sender.send_request(request)).await.map_err(late)?;
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        let status = answer.status().as_u16();
        // Its status is what counts.
        let _ = timeout(BODY_WITHIN, drain(answer.into_body())).await;
        Ok(status)
    };
    converse(stream, exchange).await
}

pub(super) type Sender = http1::SendRequest<Empty<Bytes>>;

/// Exchanges what is to be exchanged on this connection.
pub(super) async fn converse<T>(
    stream: TcpStream,
    exchange: impl AsyncFnOnce(Sender) -> Result<T, String>,
) -> Result<T, String> {
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(|error| error.to_string())?;
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange(sender)));
    tokio::select! {
        outcome = &mut exchange => outcome,
        // What it has read is with the exchange.
        _ = &mut connection => exchange.await,
    }
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

/// To its end, or as far as it is read at all.
pub(super) async fn drain(mut body: Incoming) -> Result<(), hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
        if bytes > BODY_BYTES_MAX {
            break;
        }
    }
    Ok(())
}

//! The status port: `/healthz`, `/readyz` and `/metrics`, for load balancers, operators and their scrapers.

mod metrics;
mod traffic;
pub mod upstreams;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::metrics::CONTENT_TYPE;
use net::problem::{self, Problem};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::phase::{Phase, PhaseReceiver};
use crate::view::Views;
use crate::worker::{Connections, Listening};

const CONNECTIONS_MAX: usize = 256;
/// Of a connection, whatever it asks: these answers are short.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the answers are made of.
#[derive(Clone)]
pub struct Status {
    pub phase: PhaseReceiver,
    pub listening: Listening,
    pub views: Arc<Views>,
    pub connections: Arc<Connections>,
    pub log: Option<Arc<AccessLog>>,
}

/// The proxy should get no traffic now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotReady {
    pub status: &'static str,
    pub why: &'static str,
}

impl Status {
    /// `Ok` holds whether the table is stale.
    pub fn readiness(&self) -> Result<bool, NotReady> {
        let (status, why) = match *self.phase.borrow() {
            Phase::Serving { stale } if *self.listening.borrow() => return Ok(stale),
            Phase::Serving { .. } => ("starting", "the listeners are not open yet"),
            Phase::Starting => ("starting", "there is no table that has caught up yet"),
            Phase::Unready => ("unready", "no control plane has been heard for as long as the lease"),
            Phase::Stopped => (
                "stopped",
                "no control plane has been heard for as long as the lease; nothing is served",
            ),
            Phase::Draining => ("draining", "the proxy is shutting down"),
        };
        Err(NotReady { status, why })
    }

    /// Until `/readyz` would say 200; forever if it never does.
    pub async fn ready(mut self) {
        while self.readiness().is_err() {
            let changed = tokio::select! {
                changed = self.phase.changed() => changed,
                changed = self.listening.changed() => changed,
            };
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Serves until `stop`.
    pub async fn serve(self, listener: std::net::TcpListener, stop: CancellationToken) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = async {
                let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((listener.accept().await?, permit))
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = accepted => match accepted {
                    Ok(((stream, _), permit)) => {
                        let connection = self.clone().connection(stream, stop.clone());
                        tokio::spawn(async move {
                            let _permit = permit;
                            connection.await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the status port pauses");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    async fn connection(self, stream: TcpStream, stop: CancellationToken) {
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(request.method(), request.uri().path());
            async { Ok::<_, Infallible>(answer) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            () = stop.cancelled() => {}
            // An error is the client's: there is nobody to tell.
            _ = tokio::time::timeout(CONNECTION_AGE_MAX, connection) => {}
        }
    }

    /// What the proxy is, not what is wrong with the request: no problem, but the same document at both statuses.
    fn show_readiness(&self) -> Response<Full<Bytes>> {
        let (status, document) = match self.readiness() {
            Ok(stale) => (StatusCode::OK, json!({"status": "ready", "stale": stale})),
            Err(NotReady { status, why }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"status": status, "detail": why}),
            ),
        };
        body(status, JSON, document.to_string())
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/healthz" | "/readyz" | "/metrics" if method != Method::GET && method != Method::HEAD => {
                let mut answer = refusal(&Problem::new(problem::METHOD_NOT_ALLOWED, "only GET and HEAD are"));
                let allowed = HeaderValue::from_static("GET, HEAD");
                answer.headers_mut().insert(header::ALLOW, allowed);
                answer
            }
            "/healthz" => body(StatusCode::OK, JSON, json!({"status": "alive"}).to_string()),
            "/readyz" => self.show_readiness(),
            "/metrics" => body(StatusCode::OK, CONTENT_TYPE, metrics::render(self)),
            _ => refusal(&Problem::new(
                problem::NOT_FOUND,
                "there is /healthz, /readyz and /metrics",
            )),
        }
    }
}

const JSON: &str = "application/json";

fn refusal(problem: &Problem) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    body(status, problem::CONTENT_TYPE, problem.to_json())
}

fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests;

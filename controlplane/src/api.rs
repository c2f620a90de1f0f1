//! The REST interface: strict about what it takes, and every refusal is a problem document (RFC 9457).

mod access;
pub(crate) mod answer;
mod apply;
mod authorizers;
mod call;
mod cursor;
mod explain;
mod fleet;
mod health;
mod holds;
mod limits;
mod linger;
mod many;
mod metrics;
mod openapi;
mod page;
pub(crate) mod query;
mod revert;
mod revisions;
mod roles;
mod room;
pub mod server;
mod services;
mod tokens;
mod traffic;
mod upstreams;
mod watch;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderValue;
use http::header::X_CONTENT_TYPE_OPTIONS;
use net::duplex::Credentials;
use net::problem::{self, Problem};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::changelog::Changelog;
use crate::dashboard;
use crate::heartbeats::Heartbeats;
use crate::limits::asking::Asking;
use crate::push::Fleet;

pub use access::Access;
pub(crate) use access::Caller;
pub(crate) use roles::Role;
pub use tokens::{TokenError, Tokens};

use access::Guard;
use answer::Failure;

/// Writes that may wait for the fleet at a time; each holds a connection and a place in the fleet's list.
const WAITERS_MAX: usize = 10_000;

const WATCHERS_MAX: usize = 256;

/// Documents of many objects that are read and decided at a time: each may be large.
const APPLYING_MAX: usize = 2;

/// What the handlers share.
pub struct Api {
    changelog: Arc<Changelog>,
    fleet: Arc<Fleet>,
    heartbeats: Arc<Heartbeats>,
    /// Whom to ask about single accounts of limits; None where nobody counts.
    limits: Option<Asking>,
    /// Where this control plane is reached: its name among others.
    url: Arc<str>,
    /// What it shows to others.
    credentials: Credentials,
    waiters: Arc<Semaphore>,
    watchers: Arc<Semaphore>,
    /// Long documents that come, and are held until they are read.
    uploading: Arc<Semaphore>,
    applying: Arc<Semaphore>,
    stop: CancellationToken,
    ready: AtomicBool,
    counts: metrics::Counts,
}

impl Api {
    pub fn new(
        changelog: Arc<Changelog>,
        fleet: Arc<Fleet>,
        heartbeats: Arc<Heartbeats>,
        limits: Option<Asking>,
        url: Arc<str>,
        credentials: Credentials,
        stop: CancellationToken,
    ) -> Arc<Api> {
        Arc::new(Api {
            changelog,
            fleet,
            heartbeats,
            limits,
            url,
            credentials,
            waiters: Arc::new(Semaphore::new(WAITERS_MAX)),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            uploading: Arc::new(Semaphore::new(APPLYING_MAX)),
            applying: Arc::new(Semaphore::new(APPLYING_MAX)),
            stop,
            ready: AtomicBool::new(false),
            counts: metrics::Counts::default(),
        })
    }

    /// From now on `/readyz` is 200, until `stop`.
    pub fn set_ready(&self) {
        self.ready.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Every route, behind `access`. `streams` are those of proxies and of other control planes.
pub fn router(api: Arc<Api>, streams: Router, access: Arc<Access>) -> Router {
    let routes = Router::new()
        .route("/v1/services", get(services::list))
        .route(
            "/v1/services/{service}",
            get(services::show)
                .put(services::replace)
                .patch(services::patch)
                .delete(services::remove),
        )
        .route("/v1/services/{service}/hold", get(holds::show).post(holds::begin))
        .route("/v1/services/{service}/resume", post(holds::end))
        .route("/v1/services/{service}/upstreams", get(upstreams::list))
        .route(
            "/v1/services/{service}/upstreams/{id}",
            get(upstreams::show)
                .put(upstreams::replace)
                .patch(upstreams::patch)
                .delete(upstreams::remove),
        )
        .route("/v1/upstreams", get(upstreams::at_address).delete(upstreams::leave))
        .route("/v1/authorizers", get(authorizers::list))
        .route(
            "/v1/authorizers/{authorizer}",
            get(authorizers::show)
                .put(authorizers::replace)
                .patch(authorizers::patch)
                .delete(authorizers::remove),
        )
        .route("/v1/authorizers/{authorizer}/revoke", post(authorizers::revoke))
        .route("/v1/limits", get(limits::list))
        .route(
            "/v1/limits/{limit}",
            get(limits::show)
                .put(limits::replace)
                .patch(limits::patch)
                .delete(limits::remove),
        )
        .route("/v1/limits/{limit}/usage", get(limits::usage).delete(limits::reset))
        .route("/v1/revisions", get(revisions::list))
        .route("/v1/revisions/{revision}", get(revisions::show))
        .route("/v1/revisions/{revision}/revert", post(revert::revert))
        .route("/v1/apply", post(apply::apply))
        .route("/v1/explain", get(explain::explain))
        .route("/v1/watch", get(watch::watch))
        .route("/v1/traffic", get(traffic::list))
        .route("/v1/fleet", get(fleet::list))
        .route("/v1/fleet/{proxy}", get(fleet::show).delete(fleet::forget))
        .route("/v1/fleet/succeed", post(fleet::succeed))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .with_state(api);
    guarded(
        routes
            .merge(streams)
            .merge(openapi::router())
            .merge(dashboard::router()),
        access,
    )
}

/// With nothing that is not behind `access`.
pub(crate) fn guarded(routes: Router, access: Arc<Access>) -> Router {
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .layer(from_fn_with_state(Arc::new(Guard::new(access)), access::guard))
        .layer(map_response(not_to_be_guessed))
}

/// Names and error texts are what their writers made of them: no browser is to take an answer for another type than it says.
async fn not_to_be_guessed(mut response: Response) -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

async fn no_such_path(request: Request) -> Failure {
    let detail = format!("there is no {}", request.uri().path());
    linger::forget(request);
    Problem::new(problem::NOT_FOUND, detail).into()
}

async fn method_not_allowed(request: Request) -> Failure {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    linger::forget(request);
    Problem::new(problem::METHOD_NOT_ALLOWED, detail).into()
}

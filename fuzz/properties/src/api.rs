//! The control plane's interface: any requests are answered, with what the contract allows.
//!
//! An input is a script: requests between lines of `---`, each a line `METHOD target`, header lines, an empty line, and
//! the body.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use controlplane::api::{self, Access, Api};
use controlplane::changelog::Changelog;
use controlplane::heartbeats::Heartbeats;
use controlplane::push::{self, Fleet};
use controlplane::store::core::Core;
use controlplane::store::{AppendError, Log, ReadError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use redb::backends::InMemoryBackend;
use serde_json::Value;
use shared::change::{Commit, Epoch, Revision};
use shared::snapshot::{self, Limits};
use shared::state::State;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const REQUESTS_MAX: usize = 8;
const EPOCH: Epoch = Epoch(Uuid::from_u128(1));

pub fn check(data: &[u8]) {
    let Ok(script) = std::str::from_utf8(data) else { return };
    // The clock stands still, and jumps to whatever is waited for.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let plane = Plane::start().await;
        for request in script.split("\n---\n").take(REQUESTS_MAX).filter_map(parse) {
            plane.ask(request).await;
        }
    });
}

fn parse(text: &str) -> Option<Request<String>> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, value);
    }
    request.header(header::HOST, "localhost").body(body.to_owned()).ok()
}

struct Plane {
    router: TowerToHyperService<Router>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Plane {
    async fn start() -> Plane {
        let core = Core::with_backend(InMemoryBackend::new(), EPOCH).expect("an empty one");
        let (changelog, _) = Changelog::start(Arc::new(Memory(core))).await.expect("an empty log");
        let fleet = Fleet::new(changelog.clone(), None);
        let stop = CancellationToken::new();
        let admin = SocketAddr::from(([127, 0, 0, 1], 1));
        let access = Access::of(None, None, admin).expect("a loopback address");
        let heartbeats = Heartbeats::new(changelog.clone(), fleet.clone(), None);
        let api = Api::new(
            changelog,
            fleet.clone(),
            heartbeats,
            None,
            format!("http://{admin}").into(),
            Default::default(),
            stop.clone(),
        );
        api.set_ready();
        let router = api::router(api, push::router(fleet, stop), Arc::new(access));
        Plane {
            router: TowerToHyperService::new(router),
        }
    }

    async fn ask(&self, request: Request<String>) {
        let (method, target) = (request.method().clone(), request.uri().clone());
        let is_snapshot = target.path() == "/v1/snapshot" && !request.headers().contains_key(header::ACCEPT);
        let is_plain = !request.headers().keys().any(|name| name.as_str().starts_with("if-"));
        let reply = self.answer(request).await;
        reply.is_allowed();
        if is_snapshot && reply.status == StatusCode::OK && method == "GET" {
            snapshot::read(&reply.body[..], Limits::default()).expect("a snapshot");
        }
        if method == "PUT" && reply.status == StatusCode::OK && is_plain {
            self.is_kept(target.path(), &reply).await;
        }
    }

    /// What was written is shown, and writing what is shown changes nothing.
    async fn is_kept(&self, path: &str, put: &Reply) {
        let shown = self
            .answer(
                Request::get(path)
                    .header(header::HOST, "localhost")
                    .body(String::new())
                    .unwrap(),
            )
            .await;
        assert_eq!(
            (shown.status, shown.headers.get(header::ETAG)),
            (StatusCode::OK, put.headers.get(header::ETAG))
        );
        let document = String::from_utf8(shown.body.clone()).expect("JSON");
        let again = Request::put(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        let again = self.answer(again.body(document).unwrap()).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(again.headers.get(header::ETAG), put.headers.get(header::ETAG));
        // One that waits for nothing says which revision it renewed, and the others at which head they were decided.
        if again.json()["wait"]["for"] != "none" {
            assert_eq!(again.json()["revision"], put.json()["revision"]);
        }
    }

    async fn answer(&self, request: Request<String>) -> Reply {
        let path = request.uri().path().to_owned();
        let answer = self
            .router
            .call(request.map(Body::from))
            .await
            .expect("it does not fail");
        let (head, body) = answer.into_parts();
        // Those two go on for as long as someone listens.
        let is_endless = head.status == StatusCode::OK && ["/v1/watch", "/v1/stream"].contains(&&*path);
        let body = match is_endless {
            true => Vec::new(),
            false => body.collect().await.expect("it ends").to_bytes().to_vec(),
        };
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn is_allowed(&self) {
        let status = self.status.as_u16();
        match status {
            200 | 202 | 304 => return,
            400 | 403 | 404 | 405 | 409 | 410 | 412 | 413 | 415 | 422 | 503 | 504 => {}
            _ => panic!("{status} is no answer"),
        }
        assert_eq!(
            self.headers.get(header::CONTENT_TYPE).expect("a type"),
            "application/problem+json"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with("urn:vulcan:"))
        );
        for text in ["title", "detail"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
    }
}

/// The store in memory, and without threads: the clock could not tell that they are at work.
struct Memory(Core);

impl Log for Memory {
    fn append(&self, after: Revision, commit: Arc<Commit>) -> BoxFuture<'_, Result<(), AppendError>> {
        ready(self.0.append(after, &commit)).boxed()
    }

    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>> {
        ready(self.0.read(from, max)).boxed()
    }

    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        ready(self.0.head()).boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>> {
        ready(self.0.load()).boxed()
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        ready(self.0.trim(below)).boxed()
    }
}

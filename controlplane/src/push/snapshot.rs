//! `GET /v1/snapshot`: what proxies begin with, a store's backup, or a document for people.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use net::problem::{self, Problem};
use shared::change::{Epoch, Revision};
use shared::snapshot::{self, Scope};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::connection::refuse;
use super::outlet::outlet;
use super::{Fleet, Push, documents};
use crate::api::answer::tag;
use crate::api::{Caller, Role};
use crate::changelog::Head;

/// Snapshots on their way at a time.
const IN_FLIGHT_MAX: usize = 64;
/// Of those, to callers who may only read: proxies need not wait until they have read.
const READERS_MAX: usize = 8;
/// Bytes handed over at once.
const CHUNK: usize = 64 << 10;
/// A reader that takes no chunk for so long is left.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// To compress it; later callers share what the first one waits for.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// A snapshot of the configuration is handed out for so long, unless a later one was promised: a herd shares it.
const FRESH: Duration = Duration::from_secs(10);

const ZSTD: &str = "application/zstd";
const JSON: &str = "application/json";

pub(super) struct Snapshots {
    in_flight: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    /// Of `Scope::Configuration`. Held while one is made.
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    epoch: Epoch,
    revision: Revision,
    made: Instant,
    bytes: Bytes,
}

#[derive(Clone, Copy)]
enum Form {
    Snapshot(Scope),
    Document,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots {
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX - READERS_MAX)),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            cached: Mutex::default(),
        }
    }
}

pub(super) async fn show(State(push): State<Arc<Push>>, request: Request) -> Response {
    let form = match form(&request) {
        Ok(form) => form,
        Err(problem) => return refuse(*problem),
    };
    let caller = request.extensions().get::<Caller>();
    let places = match caller.is_some_and(|caller| caller.role == Role::Reader) {
        true => &push.snapshots.readers,
        false => &push.snapshots.in_flight,
    };
    let Ok(permit) = places.clone().try_acquire_owned() else {
        return later("too many snapshots are on their way already");
    };
    let scope = match form {
        Form::Snapshot(scope) => scope,
        Form::Document => return document(&push.fleet.changelog.head(), permit),
    };
    let made = match scope {
        Scope::Configuration => timeout(MADE_WITHIN, push.snapshots.configuration(&push.fleet)).await,
        Scope::Whole => timeout(MADE_WITHIN, write(push.fleet.clone(), Scope::Whole)).await,
    };
    match made {
        Ok(Ok(bytes)) => sending(bytes, permit),
        Ok(Err(error)) => {
            tracing::error!(%error, "a snapshot cannot be made");
            later("the snapshot could not be made")
        }
        Err(_) => later("the snapshot was not made in time"),
    }
}

fn form(request: &Request) -> Result<Form, Box<Problem>> {
    let scope = match request.uri().query() {
        None | Some("" | "scope=whole") => Scope::Whole,
        Some("scope=configuration") => Scope::Configuration,
        Some(_) => {
            let detail = "the only query parameter is scope=whole or scope=configuration";
            return Err(Box::new(Problem::new(problem::MALFORMED, detail)));
        }
    };
    let accepts = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let media = |value: &str| {
        value
            .split(',')
            .any(|range| range.split(';').next().is_some_and(|m| m.trim() == JSON))
    };
    Ok(if accepts.into_iter().any(media) {
        Form::Document
    } else {
        Form::Snapshot(scope)
    })
}

impl Snapshots {
    /// One that holds at least what was promised to connections. Made once, however many ask.
    async fn configuration(&self, fleet: &Arc<Fleet>) -> io::Result<Bytes> {
        let mut cached = self.cached.lock().await;
        let state = fleet.changelog.head().state.clone();
        let promised = fleet.with(|hub| hub.offered_revision()).unwrap_or_default();
        if let Some(held) = &*cached {
            let fresh = held.revision == state.configured || held.made.elapsed() < FRESH;
            if held.epoch == state.epoch && held.revision >= promised && fresh {
                return Ok(held.bytes.clone());
            }
        }
        let (epoch, revision) = (state.epoch, state.configured);
        let bytes = write(fleet.clone(), Scope::Configuration).await?;
        *cached = Some(Cached {
            epoch,
            revision,
            made: Instant::now(),
            bytes: bytes.clone(),
        });
        Ok(bytes)
    }
}

async fn write(fleet: Arc<Fleet>, scope: Scope) -> io::Result<Bytes> {
    let head = fleet.changelog.head();
    let written = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        snapshot::write(&head.state, scope, &mut bytes).map(|()| Bytes::from(bytes))
    });
    written.await.map_err(io::Error::other)?
}

/// Written while it is sent. One that breaks off is no JSON.
fn document(head: &Head, permit: OwnedSemaphorePermit) -> Response {
    let state = head.state.clone();
    let etag = tag(state.configured);
    let (chunks, mut written) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut to = BufWriter::with_capacity(CHUNK, Chunks(chunks));
        // An error is that nobody takes any more.
        documents::write(&state, &mut to).and_then(|()| to.flush())
    });
    let (outgoing, body) = outlet();
    tokio::spawn(async move {
        while let Some(chunk) = written.recv().await {
            if !matches!(timeout(CHUNK_WITHIN, outgoing.send(chunk)).await, Ok(Ok(()))) {
                return;
            }
        }
        drop(permit);
    });
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.extend([etag]);
    response
}

/// Waits, on a thread of its own, until each is taken.
struct Chunks(mpsc::Sender<Bytes>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(chunk).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The permit is held until the last chunk is taken.
fn sending(bytes: Bytes, permit: OwnedSemaphorePermit) -> Response {
    let (outgoing, body) = outlet();
    let length = HeaderValue::from(bytes.len());
    tokio::spawn(send(bytes, outgoing, permit));
    let mut response = Body::new(body).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(ZSTD));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

async fn send(mut bytes: Bytes, outgoing: mpsc::Sender<Bytes>, permit: OwnedSemaphorePermit) {
    while !bytes.is_empty() {
        let chunk = bytes.split_to(CHUNK.min(bytes.len()));
        match timeout(CHUNK_WITHIN, outgoing.send(chunk)).await {
            Ok(Ok(())) => {}
            // Dropped before its length is reached, the body reads as cut off.
            Ok(Err(_)) | Err(_) => return,
        }
    }
    drop(permit);
}

fn later(detail: &str) -> Response {
    let mut response = refuse(Problem::new(problem::STORE_UNAVAILABLE, detail));
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

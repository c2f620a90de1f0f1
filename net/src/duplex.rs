//! Lines both ways with a control plane, over HTTP/2: a request whose body is what this side says, an answer
//! whose body is what it is told. The connection that carries it takes further requests.

mod address;
mod dial;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use serde::de::DeserializeOwned;
use shared::stream::subscriber::Disconnected;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::ndjson::Lines;
use crate::tls::{Trust, explain};
use dial::dial;

pub use address::{Address, AddressError};

/// A line holds one revision: at most 1 MiB before it is escaped.
const LINE_MAX: usize = 8 << 20;
/// Lines said and not sent yet; a control plane that takes no more is left.
const SAID_MAX: usize = 64;
/// What was read and not handled yet.
const EVENTS_MAX: usize = 4;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Member of a problem document: the proxy's name is another's.
pub const HELD: &str = "held";
/// Of an answer that is no stream.
const PROBLEM_MAX: usize = 64 << 10;
const PROBLEM_WITHIN: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(5);
/// One connection carries a stream and a snapshot: it may well hold what a fast one needs.
const WINDOW: u32 = 2 << 20;

pub enum Event<T> {
    Connected,
    /// As many as were read at once.
    Lines(Vec<T>),
    /// The last.
    Disconnected(Disconnected),
}

/// One connection; ends with it.
pub struct Duplex<T> {
    events: mpsc::Receiver<Event<T>>,
    said: mpsc::Sender<Bytes>,
    requests: watch::Receiver<Option<Requests>>,
    _task: AbortOnDropHandle<()>,
}

/// What is shown to control planes, and which of them are believed.
#[derive(Clone, Default)]
pub struct Credentials {
    pub token: Option<Arc<str>>,
    pub trust: Arc<Trust>,
}

type Outgoing = Either<Said, Empty<Bytes>>;

/// A connection that takes further requests.
#[derive(Clone)]
pub struct Requests {
    sender: SendRequest<Outgoing>,
    address: Address,
    token: Option<Arc<str>>,
}

impl<T: DeserializeOwned + Send + 'static> Duplex<T> {
    /// Dials, and opens the stream by a POST to `path`.
    pub fn open(address: Address, path: &'static str, credentials: Credentials) -> Duplex<T> {
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (said, lines) = mpsc::channel(SAID_MAX);
        let (requests_in, requests) = watch::channel(None);
        let task = tokio::spawn(async move {
            let ended = speak(address, path, credentials, Said(lines), requests_in, &events_in).await;
            // Whoever dropped the link wants no last word.
            let _ = events_in.send(Event::Disconnected(ended)).await;
        });
        Duplex {
            events,
            said,
            requests,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub async fn next(&mut self) -> Event<T> {
        let ended = || Event::Disconnected(Disconnected::Lost("the connection's task has failed".to_owned()));
        self.events.recv().await.unwrap_or_else(ended)
    }

    /// Whether there was room.
    pub fn send(&self, line: Bytes) -> bool {
        self.said.try_send(line).is_ok()
    }

    /// Whether there is room for more than the few lines that must not be lost.
    pub fn has_room(&self) -> bool {
        self.said.capacity() > SAID_MAX / 2
    }

    /// Once there is a connection.
    pub fn requests(&self) -> Option<Requests> {
        self.requests.borrow().clone()
    }
}

async fn speak<T: DeserializeOwned>(
    address: Address,
    path: &str,
    credentials: Credentials,
    said: Said,
    requests_in: watch::Sender<Option<Requests>>,
    events: &mpsc::Sender<Event<T>>,
) -> Disconnected {
    let url = address.url("");
    let mut requests = match Requests::dial(address, credentials).await {
        Ok(requests) => requests,
        Err(error) => return Disconnected::Lost(format!("connecting to {url}: {error}")),
    };
    requests_in.send_replace(Some(requests.clone()));
    if events.send(Event::Connected).await.is_err() {
        return Disconnected::Lost("dropped".to_owned());
    }
    let answer = match requests.send(Method::POST, path, Either::Left(said)).await {
        Ok(answer) => answer,
        Err(error) => return Disconnected::Lost(format!("asking {url}: {error}")),
    };
    match answer.status() {
        StatusCode::OK => listen(answer.into_body(), events).await,
        status => {
            let (detail, held) = problem(answer.into_body()).await;
            let status = status.as_u16();
            Disconnected::Refused { status, detail, held }
        }
    }
}

/// Lines come one by one and are handed over in heaps: all that is there already is applied together.
async fn listen<T: DeserializeOwned>(mut body: Incoming, events: &mpsc::Sender<Event<T>>) -> Disconnected {
    let mut lines = Lines::new(LINE_MAX);
    loop {
        let chunk = match body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Disconnected::Lost(explain(&error)),
            None => return Disconnected::Lost("the control plane ended the stream".to_owned()),
        };
        lines.push(&chunk);
        match parse(&mut lines) {
            Ok(heap) if heap.is_empty() => {}
            Ok(heap) => {
                if events.send(Event::Lines(heap)).await.is_err() {
                    return Disconnected::Lost("dropped".to_owned());
                }
            }
            Err(why) => return Disconnected::Lost(why),
        }
    }
}

fn parse<T: DeserializeOwned>(lines: &mut Lines) -> Result<Vec<T>, String> {
    let mut heap = Vec::new();
    while let Some(line) = lines.next_line().map_err(|error| error.to_string())? {
        heap.push(serde_json::from_slice(&line).map_err(|error| format!("a line that is no message: {error}"))?);
    }
    Ok(heap)
}

/// The detail of a problem document, or what there is of it, and whether the name is another's.
async fn problem(body: Incoming) -> (String, bool) {
    let read = tokio::time::timeout(PROBLEM_WITHIN, Limited::new(body, PROBLEM_MAX).collect()).await;
    let Ok(Ok(body)) = read else {
        return ("without an explanation".to_owned(), false);
    };
    let bytes = body.to_bytes();
    let document = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let detail = document.as_ref().and_then(|document| document.get("detail")?.as_str());
    let held = document.as_ref().and_then(|document| document.get(HELD)?.as_bool());
    let detail = detail.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
    (detail, held.unwrap_or_default())
}

impl Requests {
    /// A connection without a stream.
    pub async fn dial(address: Address, credentials: Credentials) -> Result<Requests, String> {
        let Credentials { token, trust } = credentials;
        match tokio::time::timeout(CONNECT_WITHIN, dial(&address, trust)).await {
            Ok(Ok(sender)) => Ok(Requests { sender, address, token }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("not within 3 s".to_owned()),
        }
    }

    /// An ordinary GET beside the stream.
    pub async fn get(&mut self, path: &str) -> Result<http::Response<Incoming>, String> {
        self.call(Method::GET, path).await
    }

    /// A request without a body.
    pub async fn call(&mut self, method: Method, path: &str) -> Result<http::Response<Incoming>, String> {
        self.send(method, path, Either::Right(Empty::new())).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Outgoing) -> Result<http::Response<Incoming>, String> {
        let mut request = Request::builder().method(method).uri(self.address.url(path));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if matches!(body, Either::Left(_)) {
            request = request.header(CONTENT_TYPE, "application/x-ndjson");
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        self.sender.send_request(request).await.map_err(|error| explain(&error))
    }
}

/// The request's body: what this side says, as it says it.
struct Said(mpsc::Receiver<Bytes>);

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut()
            .0
            .poll_recv(cx)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

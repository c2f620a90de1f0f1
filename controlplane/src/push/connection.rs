//! One proxy's stream over one request: its body is what the proxy says, the answer's body what it is told.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use net::clock::boottime;
use net::ndjson::Lines;
use net::problem::{self, Problem};
use shared::stream::hub::Refusal;
use shared::stream::message::Up;
use shared::stream::publisher::{Closing, HELLO_WITHIN, Input, Output, Publisher};
use shared::stream::roster::SessionId;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::outlet::{Outlet, outlet};
use super::{Fleet, Push, join};

/// Bytes of a line: a state that names everything that drains is far below.
const LINE_MAX: usize = 1 << 20;
const TICK: Duration = Duration::from_secs(1);

/// `POST /v1/stream`: the first line decides the status.
pub(super) async fn open(State(push): State<Arc<Push>>, request: Request) -> Response {
    let mut reader = Reader::new(request.into_body());
    let hello = match tokio::time::timeout(HELLO_WITHIN, reader.next()).await {
        Ok(Ok(Some(hello))) => hello,
        Ok(Ok(None)) => return refuse(Problem::new(problem::MALFORMED, "there is no hello")),
        Ok(Err(error)) => return refuse(Problem::new(problem::MALFORMED, error)),
        Err(_) => return refuse(Problem::new(problem::REQUEST_TIMEOUT, "no hello within 10 s")),
    };
    let (outgoing, body) = outlet();
    let connection = Connection {
        publisher: Publisher::new(boottime()),
        fleet: push.fleet.clone(),
        outgoing,
        evicted: Arc::default(),
        session: None,
        pending: false,
    };
    connection.greet(hello, reader, body, push.stop.clone()).await
}

struct Connection {
    publisher: Publisher,
    fleet: Arc<Fleet>,
    outgoing: mpsc::Sender<Bytes>,
    evicted: Arc<Notify>,
    session: Option<SessionId>,
    /// A buffer was handed over, and it is not known yet that it was taken.
    pending: bool,
}

impl Connection {
    async fn greet(mut self, hello: Up, reader: Reader, body: Outlet, stop: CancellationToken) -> Response {
        let mut input = Input::Line(hello);
        loop {
            let mut accepted = false;
            let mut joining = None;
            for output in self.step(input) {
                match output {
                    Output::Refuse(refusal) => return refused(&refusal),
                    Output::Unavailable => return unavailable(),
                    Output::Close(_) => return refuse(Problem::new(problem::MALFORMED, "the first line is no hello")),
                    Output::Join { name, member, replaces } => joining = Some((name, member, replaces)),
                    Output::Accept => accepted = true,
                    Output::Send(bytes) => self.send(bytes),
                    Output::Leave { .. } => {}
                }
            }
            if accepted {
                self.session = self.publisher.session();
                if let Some(session) = self.session {
                    self.fleet.attach(session, self.evicted.clone());
                }
                tokio::spawn(self.run(reader, stop));
                return streaming(body);
            }
            let Some((name, member, replaces)) = joining else {
                return unavailable();
            };
            input = Input::Joined(join::join(&self.fleet.changelog, name, member, replaces).await);
        }
    }

    async fn run(mut self, mut reader: Reader, stop: CancellationToken) {
        // Spread over the second, or a thousand beats would come due at once.
        let phase = Duration::from_millis(boottime().as_nanos() / 1_000 % 1_000);
        let mut ticks = interval_at(Instant::now() + phase, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.fleet.changes();
        while !self.publisher.is_closed() {
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => Input::Shutdown,
                () = self.evicted.notified() => Input::Wake,
                permit = self.outgoing.reserve(), if self.pending => {
                    let taken = permit.is_ok();
                    self.pending = false;
                    if taken { Input::Written } else { Input::Ended }
                }
                line = reader.next() => match line {
                    Ok(Some(up)) => Input::Line(up),
                    Ok(None) => Input::Ended,
                    Err(error) => {
                        tracing::debug!(error, "a proxy's stream ends");
                        Input::Ended
                    }
                },
                // The sender lives as long as the fleet, which this connection holds.
                _ = changes.changed() => Input::Wake,
                _ = ticks.tick() => Input::Tick,
            };
            self.advance(input).await;
        }
    }

    async fn advance(&mut self, input: Input) {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            for output in self.step(next) {
                match output {
                    Output::Send(bytes) => self.send(bytes),
                    Output::Leave { name, instance } => {
                        let left = join::leave(&self.fleet.changelog, name.clone(), name.clone(), instance, true).await;
                        match left {
                            Ok(_) => tracing::info!(proxy = %name, "left"),
                            Err(error) => tracing::warn!(proxy = %name, ?error, "a goodbye could not be committed"),
                        }
                        input = Some(Input::Left);
                    }
                    Output::Close(closing) => log(closing),
                    Output::Accept | Output::Join { .. } | Output::Refuse(_) | Output::Unavailable => {}
                }
            }
        }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let publisher = &mut self.publisher;
        self.fleet
            .with(|hub| publisher.handle(input, hub, boottime()))
            .unwrap_or_default()
    }

    /// There is room: the publisher hands out one buffer at a time.
    fn send(&mut self, bytes: Bytes) {
        self.pending = true;
        if self.outgoing.try_send(bytes).is_err() {
            tracing::debug!("a proxy's stream takes no more");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.step(Input::Ended);
        if let Some(session) = self.session {
            self.fleet.detach(session);
        }
    }
}

fn log(closing: Closing) {
    match closing {
        Closing::Goodbye | Closing::Ended | Closing::Shutdown => tracing::debug!(?closing, "a proxy's stream ends"),
        Closing::Evicted | Closing::NoProgress | Closing::Overrun | Closing::Protocol => {
            tracing::warn!(?closing, "a proxy's stream is closed");
        }
    }
}

/// What the proxy says, line by line.
struct Reader {
    body: BodyDataStream,
    lines: Lines,
}

impl Reader {
    fn new(body: Body) -> Reader {
        Reader {
            body: body.into_data_stream(),
            lines: Lines::new(LINE_MAX),
        }
    }

    /// `None` at the end. May be dropped and called again: nothing is lost between two awaits.
    async fn next(&mut self) -> Result<Option<Up>, String> {
        loop {
            if let Some(line) = self.lines.next_line().map_err(|error| error.to_string())? {
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| error.to_string());
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.lines.push(&chunk),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(None),
            }
        }
    }
}

fn streaming(body: Outlet) -> Response {
    let mut response = Body::new(body).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

fn refused(refusal: &Refusal) -> Response {
    if refusal.is_alarming() {
        tracing::error!(%refusal, "a proxy is refused");
    }
    let of = if refusal.is_invalid() {
        problem::INVALID
    } else {
        problem::CONFLICT
    };
    refuse(Problem::new(of, refusal.to_string()))
}

fn unavailable() -> Response {
    let mut response = refuse(Problem::new(problem::STORE_UNAVAILABLE, "the proxy could not join"));
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(super) fn refuse(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE))];
    (status, content_type, problem.to_json()).into_response()
}

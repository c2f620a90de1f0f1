//! What the owners of several control planes say to each other: each opens a stream to every other one. Any of it may be
//! lost.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use net::problem::{self, Problem};
use serde::{Deserialize, Serialize};
use shared::quota::{AccountId, Down, Handover, KeyHash, Label, Up};
use shared::stream::planes::PlaneId;
use shared::time::Time;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::asking::{self, Asking};
use crate::api::answer::Failure;
use crate::push::Reader;

/// Where it is opened.
pub const PATH: &str = "/v1/peers/limits";
/// Answers that were not taken yet.
const ANSWERS_MAX: usize = 16;
/// Whoever opened a stream asks several times a second; one that is silent for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// What was read from others and not handled yet.
pub const INCOMING_MAX: usize = 16_384;

/// From who opened the stream. It begins with a question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// What time it is there, by the label time of the owner. `asked`: by the clock of who asks, which it is told again.
    Ask {
        from: PlaneId,
        asked: Time,
    },
    /// From a proxy here to the owner there.
    Up(Box<Up>),
    /// From the owner here to a proxy whose stream may be there.
    Down(Box<Down>),
    Handover(Box<Handover>),
    /// The owner here grants nothing any more, and this process ends.
    Leaving {},
}

/// To who opened the stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Time {
        plane: PlaneId,
        asked: Time,
        /// None: it begins anew in a moment.
        owner: Option<Uuid>,
        label: Label,
    },
}

/// What comes from other control planes.
pub enum Incoming {
    Told {
        from: PlaneId,
        line: Line,
        /// Where a question is answered.
        answers: mpsc::Sender<Bytes>,
    },
    /// On the stream to `from`.
    Answered { from: PlaneId, answer: Answer },
    /// The stream to it has ended, or could not be opened.
    Lost { from: PlaneId },
}

struct Open {
    incoming: mpsc::Sender<Incoming>,
    asking: Asking,
    stop: CancellationToken,
}

/// `POST /v1/peers/limits`, and `GET` and `POST /v1/peers/limits/{limit}/{key}`: how much is spent of an account that is
/// owned here, and to let it begin anew; and with `/in-flight` behind it how many are in flight. Streams end with `stop`.
pub fn router(incoming: mpsc::Sender<Incoming>, asking: Asking, stop: CancellationToken) -> Router {
    let state = Arc::new(Open { incoming, asking, stop });
    Router::new()
        .route(PATH, post(open))
        .route(&format!("{PATH}/{{limit}}/{{key}}"), get(usage).post(reset))
        .route(&format!("{PATH}/{{limit}}/{{key}}/in-flight"), get(in_flight))
        .with_state(state)
}

/// Of what is asked about one account.
pub fn account_path(account: AccountId) -> String {
    let (high, low) = account.key.halves();
    format!("{PATH}/{}/{}", account.limit, Uuid::from_u64_pair(high, low))
}

pub fn in_flight_path(account: AccountId) -> String {
    format!("{}/in-flight", account_path(account))
}

async fn in_flight(State(state): State<Arc<Open>>, Path((limit, key)): Path<(Uuid, KeyHash)>) -> Response {
    match state.asking.in_flight_here(AccountId { limit, key }).await {
        Ok(asking::Answer::Here(in_flight)) => Json(in_flight).into_response(),
        _ => not_here(),
    }
}

async fn usage(State(state): State<Arc<Open>>, Path((limit, key)): Path<(Uuid, KeyHash)>) -> Response {
    match state.asking.usage_here(AccountId { limit, key }).await {
        Ok(asking::Answer::Here(usage)) => Json(usage).into_response(),
        _ => not_here(),
    }
}

async fn reset(State(state): State<Arc<Open>>, Path((limit, key)): Path<(Uuid, KeyHash)>) -> Response {
    match state.asking.reset_here(AccountId { limit, key }).await {
        Ok(asking::Answer::Here(forgotten)) => Json(forgotten).into_response(),
        _ => not_here(),
    }
}

fn not_here() -> Response {
    let problem = Problem::new(problem::NOT_FOUND, "the account is not owned here");
    Failure::from(problem).into_response()
}

async fn open(State(state): State<Arc<Open>>, request: Request) -> Response {
    let reader = Reader::new(request.into_body());
    let (answers, body) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let reading = read(reader, state.incoming.clone(), answers);
        state.stop.run_until_cancelled(reading).await;
    });
    let mut response = Body::from_stream(ReceiverStream::new(body).map(Ok::<Bytes, std::io::Error>)).into_response();
    let content_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Until the other side ends it or is silent, or it says something that is none of these.
async fn read(mut reader: Reader<Line>, incoming: mpsc::Sender<Incoming>, answers: mpsc::Sender<Bytes>) {
    let mut who = None;
    while let Ok(Ok(Some(line))) = tokio::time::timeout(SILENT_MAX, reader.next()).await {
        if let Line::Ask { from, .. } = &line {
            who = Some(*from);
        }
        let Some(from) = who else { return };
        let told = Incoming::Told {
            from,
            line,
            answers: answers.clone(),
        };
        // A full queue loses what comes; an owner that is gone needs nothing.
        if incoming.try_send(told).is_err() && incoming.is_closed() {
            return;
        }
    }
}

//! What control planes say to each other about heartbeats: each opens a stream to every other one. A call that is lost
//! counts as not answered.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use net::ndjson;
use serde::{Deserialize, Serialize};
use shared::stream::planes::PlaneId;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Heartbeats;
use super::registration::Registration;
use super::timers::Lapsed;
use crate::push::Reader;

/// Where it is opened.
pub const PATH: &str = "/v1/peers/heartbeats";
/// Whoever opened a stream says every second how it is; one that is silent for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// Answers that were not taken yet.
const ANSWERS_MAX: usize = 16;

/// From who opened the stream. It begins with a hello.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// `to`: whom it means to speak with. Another one may have its address by now.
    Hello {
        from: PlaneId,
        to: PlaneId,
    },
    Call {
        number: u64,
        call: Call,
    },
    /// Of the services that the one that says it owns.
    Lapsed {
        services: Vec<Lapsed>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// These were renewed, so long ago.
    Renew { renewals: Vec<(Registration, Duration)> },
    /// These are about to be unregistered, unless they were renewed there.
    Expire { registrations: Vec<Registration> },
}

/// To who opened the stream.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub struct Answer {
    pub number: u64,
    pub answered: Answered,
}

/// One for each that was asked about, in their order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answered {
    /// Whether it is known now. False: it stands no more in that form, or will not in a moment.
    Renewed(Vec<bool>),
    /// None: from now on no renewal of it is answered there. Otherwise how long ago the last one was.
    Heard(Vec<Option<Duration>>),
}

#[derive(Clone)]
struct Open {
    heartbeats: Arc<Heartbeats>,
    stop: CancellationToken,
}

/// `POST /v1/peers/heartbeats`. Streams end with `stop`.
pub fn router(heartbeats: Arc<Heartbeats>, stop: CancellationToken) -> Router {
    let open_here = Open { heartbeats, stop };
    Router::new().route(PATH, post(open)).with_state(open_here)
}

async fn open(State(state): State<Open>, request: Request) -> Response {
    let reader = Reader::new(request.into_body());
    let (answers, body) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        let reading = read(reader, state.heartbeats, answers);
        state.stop.run_until_cancelled(reading).await;
    });
    let mut response = Body::from_stream(ReceiverStream::new(body).map(Ok::<Bytes, std::io::Error>)).into_response();
    let content_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Until the other side ends it or is silent, or it says something that is none of these.
async fn read(mut reader: Reader<Line>, heartbeats: Arc<Heartbeats>, answers: mpsc::Sender<Bytes>) {
    let mut who = None;
    while let Ok(Ok(Some(line))) = tokio::time::timeout(SILENT_MAX, reader.next()).await {
        match (line, who) {
            (Line::Hello { from, to }, None) if to == heartbeats.own() => who = Some(from),
            (Line::Call { number, call }, Some(_)) => {
                let answered = heartbeats.called(call);
                let answer = ndjson::encode(&Answer { number, answered });
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            (Line::Lapsed { services }, Some(from)) => heartbeats.lapsed_there(from, services),
            _ => return,
        }
    }
}

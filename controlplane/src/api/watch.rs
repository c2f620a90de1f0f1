//! `GET /v1/watch`: history as it happens, one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use net::ndjson::encode;
use net::problem::{self, Problem};
use shared::change::Revision;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::query::invalid;
use super::revisions::Shown;

/// Lines between the log and the connection. Behind them a slow watcher lags in the log, not in memory.
const LINES_MAX: usize = 64;

const PAGE: usize = 64;

/// A watcher that takes nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn watch(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let query = call.query(&["since"])?;
    let head = api.changelog.head().state.revision;
    let since = query.number("since")?.map_or(head, Revision);
    if since > head {
        return Err(invalid("since", &format!("the head is revision {head}")).into());
    }
    let place = api.watchers.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::new(problem::TOO_MANY_REQUESTS, "too many are watching"))?;
    // Whether history reaches back is an answer's status; later it is the end of the stream.
    api.changelog.read(since, 1).await?;
    let (lines, body) = mpsc::channel(LINES_MAX);
    tokio::spawn(async move {
        let _place = place;
        follow(&api, since, lines).await;
    });
    let body = Body::from_stream(ReceiverStream::new(body).map(Ok::<Bytes, std::convert::Infallible>));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Until the watcher is gone or too slow, history is trimmed under it, or the process stops.
async fn follow(api: &Api, mut since: Revision, lines: mpsc::Sender<Bytes>) {
    let mut moves = api.changelog.moves();
    let mut beats = interval(Duration::from_secs(1));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while let Ok(commits) = api.changelog.read(since, PAGE).await {
            let Some(last) = commits.last() else { break };
            since = last.revision;
            for commit in &commits {
                if send(&lines, encode(&Shown::of(commit))).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            moved = moves.changed() => if moved.is_err() { return },
            _ = beats.tick() => {
                let head = *moves.borrow();
                if api.changelog.read(since, 1).await.is_err()
                    || send(&lines, encode(&serde_json::json!({ "beat": head }))).await.is_err()
                {
                    return;
                }
            }
            () = lines.closed() => return,
            () = api.stop.cancelled() => return,
        }
    }
}

async fn send(lines: &mpsc::Sender<Bytes>, line: Bytes) -> Result<(), SendTimeoutError<Bytes>> {
    lines.send_timeout(line, PATIENCE).await
}

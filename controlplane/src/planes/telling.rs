//! `POST /v1/peers`: telling one other control plane whom this one holds.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use net::clock::boottime;
use net::problem::{self, Problem};
use shared::stream::planes::message::Asked;
use shared::stream::planes::teller::{HELLO_WITHIN, Input, Output, Teller};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::answer::Failure;
use crate::push::{Fleet, Reader};

const TICK: Duration = Duration::from_millis(500);
/// Between two buffers: what proxies say within it is told together.
const GATHER: Duration = Duration::from_millis(5);

pub(super) struct Telling {
    pub fleet: Arc<Fleet>,
    pub stop: CancellationToken,
}

pub(super) async fn open(State(telling): State<Arc<Telling>>, request: Request) -> Response {
    let refuse = |problem| Failure::from(problem).into_response();
    let mut reader: Reader<Asked> = Reader::new(request.into_body());
    let hello = match tokio::time::timeout(HELLO_WITHIN, reader.next()).await {
        Ok(Ok(Some(hello))) => hello,
        Ok(Ok(None)) => return refuse(Problem::new(problem::MALFORMED, "there is no hello")),
        Ok(Err(error)) => return refuse(Problem::new(problem::MALFORMED, error)),
        Err(_) => return refuse(Problem::new(problem::REQUEST_TIMEOUT, "no hello within 10 s")),
    };
    let mut teller = Teller::new(boottime());
    let greeted = telling
        .fleet
        .with(|hub| teller.handle(Input::Line(hello), hub, boottime()));
    match greeted.flatten() {
        Some(Output::Accept) => {}
        Some(Output::Refuse(refusal)) => return refuse(Problem::new(problem::CONFLICT, refusal.to_string())),
        _ => return refuse(Problem::new(problem::MALFORMED, "the first line is no hello")),
    }
    let (buffers, body) = mpsc::channel(1);
    let stop = telling.stop.clone();
    let tell = tell(teller, reader, buffers, telling.fleet.clone());
    tokio::spawn(async move { stop.run_until_cancelled(tell).await });
    let mut response = Body::from_stream(ReceiverStream::new(body).map(Ok::<Bytes, std::io::Error>)).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// Until either side ends it.
async fn tell(mut teller: Teller, mut reader: Reader<Asked>, buffers: mpsc::Sender<Bytes>, fleet: Arc<Fleet>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut news = fleet.told();
    let mut sent = Instant::now();
    let mut writing = false;
    loop {
        let input = tokio::select! {
            line = reader.next() => match line {
                Ok(Some(asked)) => Input::Line(asked),
                Ok(None) | Err(_) => Input::Ended,
            },
            room = buffers.reserve(), if writing => match room {
                Ok(_) => {
                    writing = false;
                    Input::Written
                }
                Err(_) => Input::Ended,
            },
            changed = news.changed() => {
                // The fleet is gone with the process.
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep_until(sent + GATHER).await;
                Input::Wake
            }
            _ = ticks.tick() => Input::Tick,
        };
        match fleet.with(|hub| teller.handle(input, hub, boottime())).flatten() {
            Some(Output::Send(bytes)) => {
                sent = Instant::now();
                writing = true;
                // The machine hands out one buffer at a time, and there was room for it.
                if buffers.try_send(bytes).is_err() {
                    return;
                }
            }
            Some(Output::Close | Output::Refuse(_)) => return,
            Some(Output::Accept) | None => {}
        }
    }
}

//! `POST /v1/stream`: the first line decides the status, and what follows is a stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use net::duplex::HELD;
use net::problem::{self, Problem};
use shared::stream::hub::Refusal;
use shared::stream::message::Up;
use shared::stream::publisher::{HELLO_WITHIN, Input, Output};

use super::link::{Link, Reader, Spoken};
use super::{Push, join};

pub(super) async fn open(State(push): State<Arc<Push>>, request: Request) -> Response {
    let address = request.extensions().get().map(|ConnectInfo(peer)| *peer);
    // Dropped at any point, it ends what it has begun.
    let mut spoken = Spoken::new(Link::new(push.fleet.clone()), Reader::new(request.into_body()));
    let hello = match tokio::time::timeout(HELLO_WITHIN, spoken.reader().next()).await {
        Ok(Ok(Some(hello))) => hello,
        Ok(Ok(None)) => return refuse(Problem::new(problem::MALFORMED, "there is no hello")),
        Ok(Err(error)) => return refuse(Problem::new(problem::MALFORMED, error)),
        Err(_) => return refuse(Problem::new(problem::REQUEST_TIMEOUT, "no hello within 10 s")),
    };
    let (proxy, boot) = match &hello {
        Up::Hello(hello) => (hello.name.clone(), hello.boot),
        _ => Default::default(),
    };
    spoken.link().named(&proxy, boot);
    let mut input = Input::Line(hello);
    loop {
        let Some(output) = spoken.link().step(input).into_iter().next() else {
            return unavailable();
        };
        input = match output {
            Output::Accept => return accepted(&push, spoken),
            Output::Join { name, member, replaces } => {
                Input::Joined(join::join(&push.fleet.changelog, name, member, replaces).await)
            }
            Output::Look => Input::Looked(push.fleet.changelog.true_head("stream".into()).await.is_ok()),
            Output::Refuse(refusal) => {
                say(&push, &proxy, address, &refusal);
                return refused(&refusal);
            }
            Output::Close(_) => return refuse(Problem::new(problem::MALFORMED, "the first line is no hello")),
            Output::Unavailable | Output::Send(_) | Output::Answered(_) | Output::Heard(_) | Output::Leave { .. } => {
                return unavailable();
            }
        };
    }
}

fn accepted(push: &Push, mut spoken: Spoken) -> Response {
    spoken.attach();
    // One that came after the others were told to go.
    if push.stop.is_cancelled() {
        spoken.link().feed(Input::Shutdown);
    }
    let mut response = Body::new(spoken).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// It comes again several times a second.
fn say(push: &Push, proxy: &str, address: Option<SocketAddr>, refusal: &Refusal) {
    if !push
        .refused
        .is_news(proxy, std::mem::discriminant(refusal), Instant::now())
    {
        return;
    }
    let address = address.map(tracing::field::display);
    match refusal.is_alarming() {
        true => tracing::error!(
            proxy,
            address,
            "a proxy is refused, and no write to this control plane reaches it: {refusal}"
        ),
        false => tracing::warn!(proxy, address, "a proxy is refused: {refusal}"),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let of = if refusal.is_invalid() {
        problem::INVALID
    } else {
        problem::CONFLICT
    };
    let problem = Problem::new(of, refusal.to_string());
    refuse(match refusal.is_held() {
        true => problem.with(HELD, true),
        false => problem,
    })
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

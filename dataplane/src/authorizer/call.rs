//! One call of an authorizer, at an upstream of its service.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::{Response, response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use shared::model::{Authorizer, Service};
use tokio::time::timeout_at;

use super::Desk;
use super::answer::{Senseless, Understood, understand};
use super::question::Question;
use crate::http::Upload;
use crate::pipeline::{Tried, pick_internal_in_turn};
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::InFlight;
use crate::upstream::pool::Connection;

/// Of an answer; one that is longer is no answer.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub enum Failure {
    TimedOut,
    NoUpstream,
    Connect(ConnectError),
    Broken(hyper::Error),
    /// It has no end, or not within bounds.
    Body,
    Senseless(Senseless),
    /// The question is no request.
    Unaskable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TimedOut => f.write_str("it did not answer in time"),
            Failure::NoUpstream => f.write_str("its service has no upstream that is up"),
            Failure::Connect(error) => error.fmt(f),
            Failure::Broken(error) => write!(f, "its answer broke off: {error}"),
            Failure::Body => write!(f, "its answer is not complete, or longer than {BODY_BYTES_MAX} bytes"),
            Failure::Senseless(Senseless(detail)) => f.write_str(detail),
            Failure::Unaskable => f.write_str("it cannot be asked about such a request"),
        }
    }
}

/// The authorizer's timeout is for all of it, also for the end of a hold of its service. A question changes nothing, so that every upstream may be asked as often as
/// the service's retries say.
pub async fn call(desk: &Desk, authorizer: &Authorizer, question: &Question) -> Result<Understood, Failure> {
    let deadline = Instant::now() + authorizer.timeout;
    let (head, body) = ask(desk, authorizer, question, deadline).await?;
    understand(authorizer, &head, body).map_err(Failure::Senseless)
}

async fn ask(
    desk: &Desk,
    authorizer: &Authorizer,
    question: &Question,
    deadline: Instant,
) -> Result<(response::Parts, Bytes), Failure> {
    let mut tried = Tried::default();
    let mut failed = None;
    loop {
        let picking = pick_internal_in_turn(&desk.views, &authorizer.service, &tried);
        let picked = match timeout_at(deadline.into(), picking).await {
            Ok(Ok(picked)) => picked,
            Ok(Err(_)) => return Err(failed.unwrap_or(Failure::NoUpstream)),
            Err(_) => return Err(failed.unwrap_or(Failure::TimedOut)),
        };
        if let Some(failure) = failed.take_if(|_| !picked.endpoint().care().budget().spend(Instant::now())) {
            return Err(failure);
        }
        let (service, in_flight) = (picked.service().clone(), picked.into_in_flight());
        let attempt = attempt(desk, &service, &in_flight, question);
        let outcome = timeout_at(deadline.into(), attempt).await;
        let outcome = outcome.unwrap_or(Err(Failure::TimedOut));
        note(&in_flight, &outcome);
        match outcome {
            Err(failure @ (Failure::Connect(_) | Failure::Broken(_)))
                if tried.len() < service.retries.attempts as usize =>
            {
                tried.add(in_flight.endpoint());
                failed = Some(failure);
            }
            other => return other,
        }
    }
}

/// What an attempt tells of the upstream, as any request's does, and was not noted where it was seen.
fn note(in_flight: &InFlight, outcome: &Result<(response::Parts, Bytes), Failure>) {
    let endpoint = in_flight.endpoint();
    match outcome {
        Ok(_) => endpoint.health().succeeded(),
        Err(Failure::TimedOut | Failure::Body) => drop(endpoint.care().suspend(endpoint, Instant::now())),
        Err(_) => {}
    }
}

/// In flight until the answer's last byte.
async fn attempt(
    desk: &Desk,
    service: &Service,
    in_flight: &InFlight,
    question: &Question,
) -> Result<(response::Parts, Bytes), Failure> {
    let endpoint = in_flight.endpoint();
    loop {
        let mut connection = match desk.upstreams.take(endpoint, true) {
            Some(kept) => kept,
            None => match desk.upstreams.connect(endpoint, service.timeouts.connect).await {
                Ok(new) => {
                    endpoint.health().connected();
                    new
                }
                Err(error) => {
                    if error.is_of_upstream() {
                        endpoint.health().failed(Instant::now());
                    }
                    return Err(Failure::Connect(error));
                }
            },
        };
        let address = endpoint.identity().address.as_str();
        let request = question.request(address).ok_or(Failure::Unaskable)?;
        match connection.send(request).await {
            Ok(answer) => {
                endpoint.health().answers();
                endpoint.care().judge(endpoint, &service.upstream_care, answer.status());
                return read(answer, connection).await;
            }
            // The server closed it while it was kept.
            Err(_) if connection.is_kept() && !connection.is_heard() => {}
            Err(error) => {
                match connection.is_heard() {
                    true => drop(endpoint.care().suspend(endpoint, Instant::now())),
                    false => endpoint.health().failed(Instant::now()),
                }
                return Err(Failure::Broken(error.into_error()));
            }
        }
    }
}

/// A connection whose answer was not read to its end is closed.
async fn read(answer: Response<Incoming>, connection: Connection<Upload>) -> Result<(response::Parts, Bytes), Failure> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Failure::Body)?.to_bytes();
    // One that switched protocols speaks HTTP no more.
    if !head.status.is_informational() {
        connection.release();
    }
    Ok((head, body))
}

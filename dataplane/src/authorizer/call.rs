//! One call of an authorizer, at an upstream of its service.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::{Response, response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use shared::model::{Authorizer, Service};
use tokio::time::timeout;

use super::Desk;
use super::answer::{Senseless, Understood, understand};
use super::question::Question;
use crate::http::Upload;
use crate::pipeline::{Tried, pick_internal};
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
        }
    }
}

/// The authorizer's timeout is for all of it, also for the end of a hold of its service. A question changes nothing, so that every upstream may be asked as often as
/// the service's retries say.
pub async fn call(desk: &Desk, authorizer: &Authorizer, question: &Question) -> Result<Understood, Failure> {
    let asking = ask(desk, authorizer, question);
    let (head, body) = timeout(authorizer.timeout, asking)
        .await
        .unwrap_or(Err(Failure::TimedOut))?;
    understand(authorizer, &head, body).map_err(Failure::Senseless)
}

async fn ask(desk: &Desk, authorizer: &Authorizer, question: &Question) -> Result<(response::Parts, Bytes), Failure> {
    let mut tried = Tried::default();
    let mut failed = None;
    loop {
        let picked = match pick_internal(&desk.views, &authorizer.service, &tried).await {
            Ok(picked) => picked,
            Err(_) => return Err(failed.unwrap_or(Failure::NoUpstream)),
        };
        if let Some(failure) = failed.take_if(|_| !picked.endpoint().care().budget().spend(Instant::now())) {
            return Err(failure);
        }
        let (service, in_flight) = (picked.service().clone(), picked.into_in_flight());
        match attempt(desk, &service, &in_flight, question).await {
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
        let request = question.request(address).ok_or(Failure::Body)?;
        match connection.send(request).await {
            Ok(answer) => {
                endpoint.health().succeeded();
                return read(answer, connection).await;
            }
            // The server closed it while it was kept.
            Err(_) if connection.is_kept() && !connection.is_heard() => {}
            Err(error) => {
                if !connection.is_heard() {
                    endpoint.health().failed(Instant::now());
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

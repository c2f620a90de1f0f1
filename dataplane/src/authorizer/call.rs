//! One call of an authorizer, at an upstream of its service.

mod round;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::{Response, response};
use http_body_util::{BodyExt, Limited};
use shared::model::{Authorizer, Service};
use tokio::time::timeout_at;

use self::round::Round;
use super::Desk;
use super::answer::{Senseless, Understood, understand};
use super::question::Question;
use crate::counts::{self, Outcome};
use crate::pipeline::Picked;
use crate::upstream::call::{CallError, call as call_upstream};
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::Doubt;
use crate::upstream::pool::{Connection, Incoming};
use crate::upstream::talk::Error;

/// Of an answer; one that is longer is no answer.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub enum Failure {
    TimedOut,
    NoUpstream,
    Connect(ConnectError),
    Broken(Error),
    /// It has no end, or not within bounds.
    Body,
    Senseless(Senseless),
    /// The question is no request.
    Unaskable,
    /// As many are asked as may be at a time.
    Crowded,
}

/// An answer's head and body.
type Reply = (response::Parts, Bytes);

impl Failure {
    /// The same for all that differ in their detail alone.
    pub fn way(&self) -> &'static str {
        match self {
            Failure::TimedOut => "timed out",
            Failure::NoUpstream => "no upstream",
            Failure::Connect(_) => "connect",
            Failure::Broken(_) => "broken",
            Failure::Body => "body",
            Failure::Senseless(Senseless(detail)) => detail,
            Failure::Unaskable => "unaskable",
            Failure::Crowded => "crowded",
        }
    }

    /// Another upstream may do better.
    fn is_of_one(&self) -> bool {
        matches!(self, Failure::Connect(_) | Failure::Broken(_) | Failure::Body)
    }
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
            Failure::Crowded => f.write_str("too many questions are open"),
            Failure::Unaskable => f.write_str("it cannot be asked about such a request"),
        }
    }
}

/// The authorizer's timeout is for all of it, also for the end of a hold of its service. A question changes nothing, so that
/// every upstream may be asked as often as the service's retries say.
pub async fn call(desk: &Desk, authorizer: &Authorizer, question: &Question) -> Result<Understood, Failure> {
    let deadline = Instant::now() + authorizer.timeout;
    let (head, body) = ask(desk, authorizer, question, deadline).await?;
    understand(authorizer, &head, body).map_err(Failure::Senseless)
}

/// Whoever has not answered when half of what is left of the time is over goes on, and another one is asked beside it.
async fn ask(desk: &Desk, authorizer: &Authorizer, question: &Question, deadline: Instant) -> Result<Reply, Failure> {
    let mut round = Round::new(desk, authorizer, deadline);
    let mut attempts = FuturesUnordered::new();
    let mut failed = None;
    loop {
        match round.next().await {
            Ok(Some(picked)) => attempts.push(attempt(desk, picked, question)),
            Ok(None) => {}
            Err(failure) => return Err(failed.unwrap_or(failure)),
        }
        match timeout_at(round.patience().into(), attempts.next()).await {
            Ok(Some((endpoint, Ok(reply)))) => {
                round.answered(&endpoint);
                return Ok(reply);
            }
            Ok(Some((endpoint, Err(failure)))) => {
                round.failed(&endpoint);
                if !failure.is_of_one() && attempts.is_empty() {
                    return Err(failure);
                }
                failed = Some(failure);
            }
            Ok(None) | Err(_) => {}
        }
    }
}

/// In flight until the answer's last byte.
async fn attempt(desk: &Desk, picked: Picked, question: &Question) -> (Arc<Endpoint>, Result<Reply, Failure>) {
    let service = picked.service().clone();
    let (in_flight, trial) = picked.into_parts();
    let endpoint = in_flight.endpoint();
    // Whoever is given up on has not answered in time.
    let counted = counts::Attempt::begin(endpoint, desk.views.counts(), Outcome::Timeout);
    let outcome = exchange(desk, &service, endpoint, question).await;
    counted.end(of(&outcome));
    match &outcome {
        Ok(_) => endpoint.health().succeeded(),
        Err(Failure::Body) => drop(endpoint.care().suspend(endpoint, Doubt::Completes, Instant::now())),
        Err(_) => {}
    }
    drop(trial);
    (endpoint.clone(), outcome)
}

/// None: nothing was tried.
fn of(outcome: &Result<Reply, Failure>) -> Option<Outcome> {
    match outcome {
        Ok((head, _)) => Some(Outcome::of(head.status)),
        Err(Failure::Connect(_)) => Some(Outcome::Connect),
        Err(Failure::Unaskable) => None,
        Err(_) => Some(Outcome::Broken),
    }
}

async fn exchange(
    desk: &Desk,
    service: &Service,
    endpoint: &Arc<Endpoint>,
    question: &Question,
) -> Result<Reply, Failure> {
    let make = || question.request(endpoint.identity().address.as_str());
    match call_upstream(&desk.upstreams, service, endpoint, || true, make).await {
        Ok((answer, connection)) => read(answer, connection).await,
        Err(CallError::Connect(error)) => Err(Failure::Connect(error)),
        Err(CallError::Broken(error)) => Err(Failure::Broken(error)),
        Err(CallError::Unaskable | CallError::Stale) => Err(Failure::Unaskable),
    }
}

/// A connection whose answer was not read to its end is closed.
async fn read(answer: Response<Incoming>, connection: Connection) -> Result<Reply, Failure> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Failure::Body)?.to_bytes();
    // One that switched protocols speaks HTTP no more.
    if !head.status.is_informational() {
        connection.release();
    }
    Ok((head, body))
}

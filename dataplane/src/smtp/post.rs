//! One attempt at one upstream, to the last byte of its answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use shared::model::Service;

use super::Reply;
use super::answer::Answered;
use super::outflow::{Outflow, Progress};
use crate::counts::{self, Outcome};
use crate::http::Upload;
use crate::pipeline::Picked;
use crate::upstream::call::{CallError, call};
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::{Endpoint, InFlight};
use crate::upstream::health::Doubt;
use crate::upstream::pool::{Connection, Incoming, Pool};
use crate::worker::WorkerContext;

/// Of an answer's body, to be looked at.
const START_BYTES_MAX: usize = 64 * 1024;
/// An answer that goes on for longer is none.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// No service lets its clients wait for longer: theirs wait for ten minutes (RFC 5321, 4.5.3.2.6).
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// There is no whole answer.
#[derive(Debug)]
pub enum Failure {
    Connect(ConnectError),
    Stale,
    /// What is to be said cannot be said in a request.
    Unaskable,
    /// The key to sign it with cannot be read.
    Unsigned,
    /// The connection ended before the answer's head was complete, or the head is none of HTTP.
    Broken,
    /// The answer ended early, has no end, or came before its request had been taken.
    Partial,
    TimedOut,
}

impl Failure {
    /// Nobody has seen anything of the request.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Failure::Connect(_) | Failure::Stale | Failure::Unaskable | Failure::Unsigned
        )
    }

    /// The same upstream would fail again.
    pub fn is_for_others(&self) -> bool {
        matches!(self, Failure::Partial | Failure::TimedOut)
    }

    pub fn reply(&self) -> Reply {
        match self {
            Failure::Connect(ConnectError::TimedOut) | Failure::TimedOut => {
                Reply::new(451, "4.4.2", "the application did not answer in time, try again later")
            }
            Failure::Connect(_) | Failure::Stale => {
                Reply::new(451, "4.4.1", "the application cannot be reached, try again later")
            }
            Failure::Broken | Failure::Partial => {
                Reply::new(451, "4.4.2", "the application gave no whole answer, try again later")
            }
            Failure::Unsigned => Reply::new(451, "4.3.5", "mail cannot be signed, try again later"),
            Failure::Unaskable => Reply::new(554, "5.6.0", "the message cannot be passed on"),
        }
    }
}

pub struct Attempt {
    in_flight: Rc<InFlight>,
    progress: Rc<Progress>,
    service: Arc<Service>,
}

impl Attempt {
    /// A body that tells how far it is.
    pub fn upload(&self, outflow: Outflow) -> Upload {
        Upload::made(outflow.told(&self.progress), self.in_flight.clone())
    }

    pub fn address(&self) -> &str {
        self.in_flight.endpoint().identity().address.as_str()
    }
}

/// In flight until the answer's last byte. `is_current` and `make` are those of `call`.
pub async fn post(
    context: &WorkerContext,
    picked: Picked,
    is_current: impl Fn() -> bool,
    make: impl Fn(&Attempt) -> Option<Request<Upload>>,
) -> Result<Answered, Failure> {
    let service = picked.service().clone();
    let (in_flight, trial) = picked.into_parts();
    let attempt = Attempt {
        in_flight: Rc::new(in_flight),
        progress: Rc::default(),
        service,
    };
    let patience = attempt.service.timeouts.response.min(PATIENCE_MAX);
    let exchanging = exchange(&context.upstreams, &attempt, is_current, || make(&attempt));
    let endpoint = attempt.in_flight.endpoint();
    let counted = counts::Attempt::begin(endpoint, context.views.counts(), Outcome::Cancelled);
    let outcome = attempt.progress.patient(patience, exchanging).await;
    drop(trial);
    let outcome = outcome.unwrap_or(Err(Failure::TimedOut));
    counted.end(of(&outcome));
    match &outcome {
        Ok(_) => endpoint.health().succeeded(),
        Err(Failure::TimedOut) => suspend(endpoint, Doubt::Answers),
        Err(Failure::Partial) => suspend(endpoint, Doubt::Completes),
        Err(_) => {}
    }
    if let Err(failure) = &outcome {
        tracing::debug!(upstream = %endpoint.identity().address, ?failure, "no answer");
    }
    outcome
}

/// None: nothing was tried.
fn of(outcome: &Result<Answered, Failure>) -> Option<Outcome> {
    match outcome {
        Ok(answered) => Some(Outcome::of(answered.head.status)),
        Err(Failure::Connect(_)) => Some(Outcome::Connect),
        Err(Failure::TimedOut) => Some(Outcome::Timeout),
        Err(Failure::Broken | Failure::Partial) => Some(Outcome::Broken),
        Err(Failure::Stale | Failure::Unaskable | Failure::Unsigned) => None,
    }
}

/// One that was cut is not to blame.
fn suspend(endpoint: &Arc<Endpoint>, doubt: Doubt) {
    if !endpoint.cut_token().is_cancelled() {
        endpoint.care().suspend(endpoint, doubt, Instant::now());
    }
}

async fn exchange(
    upstreams: &Rc<Pool>,
    attempt: &Attempt,
    is_current: impl Fn() -> bool,
    make: impl Fn() -> Option<Request<Upload>>,
) -> Result<Answered, Failure> {
    let endpoint = attempt.in_flight.endpoint();
    let called = call(upstreams, &attempt.service, endpoint, is_current, make).await;
    let (answer, connection) = called.map_err(|error| match error {
        CallError::Connect(error) => Failure::Connect(error),
        CallError::Stale => Failure::Stale,
        CallError::Unaskable => Failure::Unaskable,
        CallError::Broken(_) => Failure::Broken,
    })?;
    attempt.progress.moved();
    read(answer, connection, &attempt.progress).await
}

/// The whole of it is waited for: whoever breaks off within has not said anything. A connection is kept only if both are
/// complete, its request and its answer.
async fn read(answer: Response<Incoming>, connection: Connection, progress: &Progress) -> Result<Answered, Failure> {
    let (head, mut body) = answer.into_parts();
    let (mut start, mut bytes) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Partial)?;
        progress.moved();
        let data = frame.into_data().unwrap_or_default();
        bytes += data.len();
        if bytes > BODY_BYTES_MAX {
            return Err(Failure::Partial);
        }
        let room = START_BYTES_MAX - start.len();
        start.extend_from_slice(&data[..data.len().min(room)]);
    }
    let is_taken = progress.is_taken() && !connection.is_deaf();
    if head.status.is_success() && !is_taken {
        // It cannot have taken a message that it has not seen.
        return Err(Failure::Partial);
    }
    if is_taken && !head.status.is_informational() {
        connection.release();
    }
    let start: Bytes = start.freeze();
    Ok(Answered { head, start })
}

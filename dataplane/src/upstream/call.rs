//! A request of the proxy's own making, which can be made again: over a kept connection or a new one, to its answer's head.
//! What the upstream showed of itself on the way is told to its health; for whoever reads on there is more to tell.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use shared::model::Service;

use super::connect::ConnectError;
use super::endpoint::Endpoint;
use super::health::Doubt;
use super::pool::{Connection, Incoming, Pool};
use super::talk::Error;
use crate::http::Upload;

#[derive(Debug)]
pub enum CallError {
    Connect(ConnectError),
    /// What it was decided by is not so any more.
    Stale,
    /// There is no request to be made.
    Unaskable,
    Broken(Error),
}

/// `is_current` is asked at every connection: from its answer to the hand-over nothing waits. `make` is called for each
/// connection that is tried; a server that closed a kept one has no part in that.
pub async fn call(
    upstreams: &Rc<Pool>,
    service: &Service,
    endpoint: &Arc<Endpoint>,
    is_current: impl Fn() -> bool,
    make: impl Fn() -> Option<Request<Upload>>,
) -> Result<(Response<Incoming>, Connection), CallError> {
    loop {
        let mut connection = match upstreams.take(endpoint, true) {
            Some(kept) => kept,
            None => match upstreams.connect(endpoint, service.timeouts.connect).await {
                Ok(new) => {
                    endpoint.health().connected();
                    new
                }
                Err(error) => {
                    if error.is_of_upstream() {
                        endpoint.health().failed(Instant::now());
                    }
                    return Err(CallError::Connect(error));
                }
            },
        };
        if !is_current() {
            connection.release();
            return Err(CallError::Stale);
        }
        let (head, body) = make().ok_or(CallError::Unaskable)?.into_parts();
        match connection.send(&head, body, |_| {}).await {
            Ok(answer) => {
                endpoint.health().answers();
                endpoint.care().judge(endpoint, &service.upstream_care, answer.status());
                return Ok((*answer, connection));
            }
            // The server closed it while it was kept.
            Err(error) if error.is_of_upstream() && connection.is_kept() && !connection.is_heard() => {}
            Err(error) => {
                if error.is_of_upstream() && !endpoint.cut_token().is_cancelled() {
                    match connection.is_heard() {
                        true => drop(endpoint.care().suspend(endpoint, Doubt::Answers, Instant::now())),
                        false => endpoint.health().reset(Instant::now()),
                    }
                }
                return Err(CallError::Broken(error));
            }
        }
    }
}

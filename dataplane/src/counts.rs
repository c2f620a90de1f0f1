//! What the proxy counts of what it does, for its metrics.
//!
//! Whoever counts has the counters at hand, with the service, the upstream or the answer that it goes by anyway, and adds to
//! a cell of its own worker. Sums are made when somebody asks.

mod cells;
mod kept;
mod service;

use std::sync::Arc;

use shared::model::{AuthorizerName, ServiceName, UpstreamId};

pub use self::cells::Cells;
pub(crate) use self::cells::WORKERS_MAX;
pub use self::kept::Kept;
pub use self::service::{Delivered, ServiceCounts};
use crate::upstream::endpoint::Endpoint;

/// Those beyond are counted together.
const SERVICES_MAX: usize = 1_000;
const UPSTREAMS_MAX: usize = 10_000;
const AUTHORIZERS_MAX: usize = 1_000;

pub type UpstreamCounts = Cells<{ Outcome::ALL.len() }>;
pub type AuthorizerCounts = Cells<{ Decided::ALL.len() }>;

pub struct Counts {
    pub services: Kept<ServiceName, ServiceCounts>,
    /// Of requests and mail that no service is for.
    pub unrouted: ServiceCounts,
    pub upstreams: Kept<(ServiceName, UpstreamId), UpstreamCounts>,
    pub authorizers: Kept<AuthorizerName, AuthorizerCounts>,
}

impl Counts {
    pub fn new(workers: usize) -> Counts {
        Counts {
            services: Kept::new(SERVICES_MAX, move || ServiceCounts::new(workers)),
            unrouted: ServiceCounts::new(workers),
            upstreams: Kept::new(UPSTREAMS_MAX, move || Cells::new(workers)),
            authorizers: Kept::new(AUTHORIZERS_MAX, move || Cells::new(workers)),
        }
    }
}

/// What came of one attempt at an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 500.
    Success,
    /// An answer from 500 on.
    Error,
    /// No connection, or one that was closed at once.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection ended before the answer's head, or that was none of HTTP.
    Broken,
    /// The client left, or was given up, before the answer.
    Cancelled,
}

impl Outcome {
    pub const ALL: [(&'static str, Outcome); 6] = [
        ("success", Outcome::Success),
        ("error", Outcome::Error),
        ("connect", Outcome::Connect),
        ("timeout", Outcome::Timeout),
        ("broken", Outcome::Broken),
        ("cancelled", Outcome::Cancelled),
    ];

    pub fn of(status: http::StatusCode) -> Outcome {
        match status.is_server_error() {
            true => Outcome::Error,
            false => Outcome::Success,
        }
    }
}

/// What an authorizer's part in a request, or in a session of mail, was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    Allowed,
    Refused,
    /// Refused unasked: there were no credentials.
    Unauthenticated,
    /// It could not be asked, and nobody is let in.
    Unavailable,
    /// It could not be asked, and what it had said before was used.
    Stale,
    /// It could not be asked, and everybody is let in.
    FailedOpen,
}

impl Decided {
    pub const ALL: [(&'static str, Decided); 6] = [
        ("allowed", Decided::Allowed),
        ("refused", Decided::Refused),
        ("unauthenticated", Decided::Unauthenticated),
        ("unavailable", Decided::Unavailable),
        ("stale", Decided::Stale),
        ("failed_open", Decided::FailedOpen),
    ];
}

/// One attempt at an upstream, counted once: by what was said of it, or by what it is if nobody comes to say anything.
pub struct Attempt<'a> {
    endpoint: &'a Endpoint,
    counts: &'a Arc<Counts>,
    outcome: Option<Outcome>,
}

impl<'a> Attempt<'a> {
    pub fn begin(endpoint: &'a Endpoint, counts: &'a Arc<Counts>, otherwise: Outcome) -> Attempt<'a> {
        Attempt {
            endpoint,
            counts,
            outcome: Some(otherwise),
        }
    }

    /// None: it was none.
    pub fn end(mut self, outcome: Option<Outcome>) {
        self.outcome = outcome;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.endpoint.counts(self.counts).add(outcome as usize, 1);
        }
    }
}

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Quota;
use crate::authorizer::Reply;

/// Why a request goes no further. Edges render it in their protocol: HTTP as a status and a problem, SMTP as a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    BadRequest {
        detail: Cow<'static, str>,
    },
    Unauthorized {
        realm: String,
    },
    /// By the service's lists of clients.
    Denied,
    /// By the authorizer, in its own words.
    Refused(Arc<Reply>),
    NoRoute,
    TooLarge {
        bytes_max: u64,
    },
    /// By the limit that refused it.
    QuotaExceeded {
        quota: Quota,
        retry_after: Duration,
        /// The fleet has nothing left until then. Else it is not known here what it has.
        is_spent: bool,
    },
    /// By the limit that refused it: as many requests are in flight as it lets.
    TooManyInFlight {
        quota: Quota,
        most: u32,
        retry_after: Duration,
        /// As far as its owner knows. Else it is not known here whether the fleet has another permit.
        is_all: bool,
    },
    /// It takes more of the limit than a whole period has: it never passes.
    CostsTooMuch {
        quota: Quota,
    },
    /// More limits match than one request can be counted for.
    TooManyLimits,
    RequestTimeout,
    HeadTooLarge,
    UpstreamFailed {
        detail: Cow<'static, str>,
    },
    /// Every upstream is down by its health checks, took no connection from this request, has weight 0, or there is none.
    NoUpstream {
        retry_after: Duration,
    },
    /// Every upstream that is well has as many requests as it may, and as many wait as may, or this one has for too long.
    Busy,
    /// The service is held, and as many requests wait for its end as may, or this one has for too long.
    Held,
    AuthorizerUnavailable {
        retry_after: Duration,
    },
    /// The proxy is shutting down.
    Draining,
    UpstreamTimeout,
    /// No refusal: the configuration has changed since the request was authorized. It is routed and authorized again; an
    /// edge that has done so too often answers as for `NoUpstream`.
    Stale,
}

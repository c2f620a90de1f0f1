//! Answers of the proxy itself: `application/problem+json`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use net::problem::{self, Problem, Type};
use shared::model::LimitId;
use shared::quota::slots::NEEDS_MAX;

use super::head::Refused;
use super::quota;
use super::session::{Expired, Fault};
use crate::authorizer::{Reply, basic_challenge};
use crate::counts::Outcome;
use crate::limiter::RETRY_AFTER;
use crate::pipeline::{Quota, Verdict};

#[derive(Clone, Debug)]
pub struct Refusal {
    problem: Box<Problem>,
    retry_after: Option<Duration>,
    /// The limit that refused, and whether nothing is left of it.
    quota: Option<(Quota, bool)>,
    /// Who shows credentials for it may come again.
    realm: Option<String>,
    /// Said instead of all this, by an authorizer.
    reply: Option<Arc<Reply>>,
}

impl Refusal {
    pub fn new(of: Type, detail: impl Into<String>) -> Refusal {
        Refusal {
            problem: Box::new(Problem::new(of, detail)),
            retry_after: None,
            quota: None,
            realm: None,
            reply: None,
        }
    }

    pub fn bad_request(detail: impl Into<String>) -> Refusal {
        Refusal::new(problem::BAD_REQUEST, detail)
    }

    /// RFC 9110, 10.1.1
    pub fn unknown_expectation() -> Refusal {
        let unknown = Type {
            status: 417,
            ..problem::BAD_REQUEST
        };
        Refusal::new(unknown, "only 100-continue can be expected")
    }

    pub fn upstream_failed(detail: impl Into<String>) -> Refusal {
        Refusal::new(problem::UPSTREAM_FAILED, detail)
    }

    fn retry_after(mut self, after: Duration) -> Refusal {
        self.retry_after = Some(after);
        self
    }

    /// Whole seconds, rounded up: never earlier than was meant (RFC 9110, 10.2.3).
    fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after
            .map(|after| (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1))
    }

    pub fn into_response(self) -> Response<Bytes> {
        if let Some(reply) = &self.reply {
            return relayed(reply);
        }
        let mut response = Response::new(Bytes::from(self.problem.to_json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((quota, is_spent)) = &self.quota {
            quota::refuse(headers, quota, self.retry_after_seconds().filter(|_| *is_spent));
        }
        if let Some(realm) = &self.realm {
            headers.insert(header::WWW_AUTHENTICATE, basic_challenge(realm));
        }
        response
    }

    /// The last answer of a connection, as bytes, for a request that never became one.
    pub fn into_bytes(self) -> Vec<u8> {
        let status = self.status();
        let body = self.problem.to_json();
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            status.as_str(),
            status.canonical_reason().unwrap_or_default(),
            problem::CONTENT_TYPE,
            body.len(),
        );
        [head.into_bytes(), body].concat()
    }

    /// Of the answer.
    pub fn status(&self) -> StatusCode {
        let own = || StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.reply.as_ref().map_or_else(own, |reply| reply.status)
    }

    /// The limit that refused it.
    pub fn limit(&self) -> Option<LimitId> {
        self.quota.as_ref().map(|(quota, _)| quota.id)
    }

    /// For whoever runs the proxy.
    pub fn describe(&self) -> String {
        format!("{}: {}", self.problem.kind, self.problem.detail)
    }

    /// What an attempt came to that ended with it.
    pub fn outcome(&self) -> Outcome {
        match self.problem.kind {
            kind if kind == problem::UPSTREAM_TIMEOUT.kind => Outcome::Timeout,
            kind if kind == problem::UPSTREAM_FAILED.kind => Outcome::Broken,
            _ => Outcome::Cancelled,
        }
    }
}

impl From<Verdict> for Refusal {
    fn from(verdict: Verdict) -> Refusal {
        match verdict {
            Verdict::BadRequest { detail } => Refusal::bad_request(detail),
            Verdict::NoRoute => Refusal::new(problem::NO_ROUTE, "no service matches host, path, method and headers"),
            Verdict::TooLarge { bytes_max } => too_large(bytes_max),
            Verdict::RequestTimeout => Refusal::from(Expired::Upload),
            Verdict::HeadTooLarge => Refusal::from(Refused::TooLarge),
            Verdict::UpstreamFailed { detail } => Refusal::upstream_failed(detail),
            Verdict::NoUpstream { retry_after } => {
                Refusal::new(problem::NO_UPSTREAM, "no upstream is registered and up").retry_after(retry_after)
            }
            Verdict::Busy => Refusal::new(problem::NO_UPSTREAM, "every upstream has as many requests as it may")
                .retry_after(Duration::from_secs(1)),
            Verdict::Held => Refusal::new(
                problem::NO_UPSTREAM,
                "the service is held, and as many requests wait as may",
            )
            .retry_after(Duration::from_secs(1)),
            Verdict::Draining => {
                Refusal::new(problem::DRAINING, "try again elsewhere").retry_after(Duration::from_secs(1))
            }
            Verdict::UpstreamTimeout => Refusal::from(Expired::Upstream),
            Verdict::Stale => {
                Refusal::new(problem::NO_UPSTREAM, "the service keeps changing").retry_after(Duration::from_secs(1))
            }
            Verdict::Denied => Refusal::new(problem::DENIED, "the service is not for clients at this address"),
            Verdict::Unauthorized { realm } => Refusal {
                realm: Some(realm),
                ..Refusal::new(problem::UNAUTHORIZED, "the service asks for a user name and a password")
            },
            Verdict::Refused(reply) => Refusal {
                reply: Some(reply),
                ..Refusal::new(problem::DENIED, "the authorizer refused it")
            },
            Verdict::AuthorizerUnavailable { retry_after } => {
                let detail = "nobody can say whether the client may use the service";
                Refusal::new(problem::AUTHORIZER_UNAVAILABLE, detail).retry_after(retry_after)
            }
            Verdict::QuotaExceeded {
                quota,
                retry_after,
                is_spent,
            } => {
                let (of, detail) = exceeded(&quota, is_spent);
                Refusal {
                    retry_after: Some(retry_after),
                    ..quota_exceeded(quota, of, detail, is_spent)
                }
            }
            Verdict::TooManyInFlight {
                quota,
                most,
                retry_after,
                is_all,
            } => {
                let (of, detail) = too_many_in_flight(most, is_all);
                Refusal {
                    retry_after: Some(retry_after),
                    ..quota_exceeded(quota, of, detail, false)
                }
            }
            Verdict::CostsTooMuch { quota } => {
                let requests = if quota.threshold == 1 { "request" } else { "requests" };
                let detail = format!("it counts for more than {} {requests}", quota.threshold);
                quota_exceeded(quota, problem::QUOTA_EXCEEDED, detail, false)
            }
            Verdict::TooManyLimits => {
                // The operator's to mend, not the client's.
                let of = Type {
                    status: 503,
                    ..problem::QUOTA_EXCEEDED
                };
                Refusal::new(of, format!("it counts for more than {NEEDS_MAX} limits")).retry_after(RETRY_AFTER)
            }
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::Malformed(detail) => Refusal::bad_request(detail),
            Refused::TooLarge => Refusal::new(problem::HEAD_TOO_LARGE, "64 KiB and 100 fields are the most"),
        }
    }
}

impl From<Expired> for Refusal {
    fn from(expired: Expired) -> Refusal {
        match expired {
            Expired::Quiet | Expired::Head | Expired::Upload => {
                Refusal::new(problem::REQUEST_TIMEOUT, "the client was waited for too long")
            }
            Expired::Upstream | Expired::Answer => {
                Refusal::new(problem::UPSTREAM_TIMEOUT, "the upstream was waited for too long")
            }
        }
    }
}

fn exceeded(quota: &Quota, is_spent: bool) -> (Type, String) {
    let Quota { threshold, period, .. } = quota;
    let most = match threshold {
        0 => "no request is let pass".to_owned(),
        1 => format!("1 request in {period} s is the most"),
        _ => format!("{threshold} requests in {period} s are the most"),
    };
    if is_spent {
        return (problem::QUOTA_EXCEEDED, most);
    }
    let of = Type {
        title: "What a limit on requests has left is not known",
        ..problem::QUOTA_EXCEEDED
    };
    (of, format!("no control plane has said in time what is left; {most}"))
}

fn too_many_in_flight(most: u32, is_all: bool) -> (Type, String) {
    let most = match most {
        1 => "1 request in flight at a time is the most".to_owned(),
        _ => format!("{most} requests in flight at a time are the most"),
    };
    if is_all {
        return (problem::QUOTA_EXCEEDED, most);
    }
    let of = Type {
        title: "How many requests a limit lets be in flight is not known",
        ..problem::QUOTA_EXCEEDED
    };
    (
        of,
        format!("no control plane has said in time whether another may be in flight; {most}"),
    )
}

fn quota_exceeded(quota: Quota, of: Type, detail: String, is_spent: bool) -> Refusal {
    let problem = Problem::new(of, detail).with("limit", quota.id.to_string());
    Refusal {
        problem: Box::new(problem),
        retry_after: None,
        quota: Some((quota, is_spent)),
        realm: None,
        reply: None,
    }
}

fn relayed(reply: &Reply) -> Response<Bytes> {
    let mut response = Response::new(reply.body.clone());
    *response.status_mut() = reply.status;
    response.headers_mut().extend(reply.headers.iter().cloned());
    response
}

/// What the client made of its own request.
pub fn of_fault(fault: Fault, bytes_max: u64) -> Refusal {
    match fault {
        Fault::Malformed(detail) => Refusal::bad_request(detail),
        Fault::TooLarge => too_large(bytes_max),
        Fault::Gone => Refusal::bad_request("the body has no end"),
    }
}

fn too_large(bytes_max: u64) -> Refusal {
    Refusal::new(
        problem::TOO_LARGE,
        format!("this service takes at most {bytes_max} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_request_is_whole() {
        let bytes = Refusal::from(Refused::TooLarge).into_bytes();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(body.contains("urn:vulcan:head-too-large"));
    }

    #[test]
    fn what_is_the_most_is_said_of_one_and_of_none_too() {
        let quota = |threshold| Quota {
            id: LimitId::try_from("00000000-0000-4000-8000-000000000001").unwrap(),
            threshold,
            period: 10,
        };
        let says = |verdict| Refusal::from(verdict).problem.detail.to_string();
        let exceeded = |threshold, is_spent| {
            says(Verdict::QuotaExceeded {
                quota: quota(threshold),
                retry_after: Duration::ZERO,
                is_spent,
            })
        };
        assert_eq!(exceeded(2, true), "2 requests in 10 s are the most");
        assert_eq!(exceeded(1, true), "1 request in 10 s is the most");
        assert_eq!(exceeded(0, true), "no request is let pass");
        let unknown = "no control plane has said in time what is left; 1 request in 10 s is the most";
        assert_eq!(exceeded(1, false), unknown);
        let in_flight = |most| {
            says(Verdict::TooManyInFlight {
                quota: quota(100),
                most,
                retry_after: Duration::ZERO,
                is_all: true,
            })
        };
        assert_eq!(in_flight(2), "2 requests in flight at a time are the most");
        assert_eq!(in_flight(1), "1 request in flight at a time is the most");
        let costs_too_much = says(Verdict::CostsTooMuch { quota: quota(1) });
        assert_eq!(costs_too_much, "it counts for more than 1 request");
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let after = |millis| {
            let verdict = Verdict::NoUpstream {
                retry_after: Duration::from_millis(millis),
            };
            Refusal::from(verdict).into_response().headers()["retry-after"].clone()
        };
        assert_eq!([after(0), after(1), after(1000), after(1001)], ["1", "1", "1", "2"]);
    }
}

//! What handlers answer: JSON, or a problem.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use net::problem::{self, Problem};
use serde::Serialize;
use shared::change::Revision;
use shared::model::Invalid;

use crate::changelog::WriteError;
use crate::store::ReadError;

pub type Answer = Result<Response, Failure>;

/// A problem as an answer.
#[derive(Debug)]
pub struct Failure(pub Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure(Box::new(problem))
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        Problem::from(invalid).into()
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Failure {
        match error {
            WriteError::Refused(problem) => Failure(problem),
            WriteError::Unavailable => Problem::new(
                problem::STORE_UNAVAILABLE,
                "the store did not take it in time; it is not committed",
            )
            .with("committed", false)
            .into(),
            WriteError::OutcomeUnknown { op_id } => {
                let detail = "the store did not answer in time; /v1/revisions?op_id= finds it once it is committed";
                Problem::new(problem::OUTCOME_UNKNOWN, detail)
                    .with("committed", "unknown")
                    .with("op_id", op_id.to_string())
                    .into()
            }
            WriteError::Overloaded => Problem::new(problem::TOO_MANY_REQUESTS, "too many writes are waiting")
                .with("committed", false)
                .into(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        let of = match error {
            ReadError::Trimmed { .. } => problem::GONE,
            ReadError::Unavailable(_) | ReadError::Corrupt(_) => problem::STORE_UNAVAILABLE,
        };
        Problem::new(of, error.to_string()).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Failure(problem) = self;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        match problem.status {
            401 => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"vulcan\""))),
            429 | 503 => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => {}
        }
        let current = problem.extra.get("current").and_then(|current| current.get("revision"));
        if let Some(revision) = current.and_then(serde_json::Value::as_u64) {
            headers.extend([tag(Revision(revision))]);
        }
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, headers, line(problem.to_json())).into_response()
    }
}

pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    (
        status,
        [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        line(body),
    )
        .into_response()
}

/// The object's entity tag.
pub fn tag(revision: Revision) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::try_from(format!("\"{revision}\""));
    (ETAG, value.unwrap_or(HeaderValue::from_static("\"\"")))
}

/// Ended like a line: answers are read in terminals, too.
fn line(mut json: Vec<u8>) -> Body {
    json.push(b'\n');
    json.into()
}

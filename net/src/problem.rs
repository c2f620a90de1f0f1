//! Error answers: `application/problem+json` (RFC 9457).

use serde::Serialize;
use serde_json::{Map, Value};
pub use shared::model::FieldError;
use shared::model::{Invalid, InvalidKind};

pub const CONTENT_TYPE: &str = "application/problem+json";

/// One sort of error: callers tell errors apart by `kind` alone; `title` is for people and the same for every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// What follows `urn:vulcan:`.
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
}

const fn sort(status: u16, kind: &'static str, title: &'static str) -> Type {
    Type { kind, title, status }
}

// The control plane's.
pub const MALFORMED: Type = sort(400, "malformed", "The request cannot be read");
pub const UNAUTHENTICATED: Type = sort(401, "unauthenticated", "No valid token was presented");
pub const FORBIDDEN: Type = sort(403, "forbidden", "This is not allowed");
pub const NOT_FOUND: Type = sort(404, "not-found", "There is no such thing");
pub const METHOD_NOT_ALLOWED: Type = sort(405, "method-not-allowed", "This path does not take that method");
pub const CONFLICT: Type = sort(409, "conflict", "This contradicts what is there");
pub const GONE: Type = sort(410, "gone", "History no longer reaches so far");
pub const PRECONDITION_FAILED: Type = sort(412, "precondition-failed", "The object is not in the state asked for");
pub const UNSUPPORTED_MEDIA_TYPE: Type = sort(415, "unsupported-media-type", "The body must be JSON, and say so");
pub const INVALID: Type = sort(422, "invalid", "The content is not valid");
pub const NOT_SUPPORTED: Type = sort(422, "not-supported", "This version cannot do that");
pub const TOO_MANY_REQUESTS: Type = sort(429, "too-many-requests", "Too much is waiting already");
pub const STORE_UNAVAILABLE: Type = sort(503, "store-unavailable", "The store cannot be written");
pub const OUTCOME_UNKNOWN: Type = sort(503, "outcome-unknown", "The change may or may not have been committed");
pub const WAIT_NOT_REACHED: Type = sort(504, "wait-not-reached", "Not yet true on every proxy");
pub const REFUSED_BY_PROXY: Type = sort(504, "refused-by-proxy", "Committed, but a proxy cannot apply it");

// Said by both planes, of a body.
pub const TOO_LARGE: Type = sort(413, "too-large", "The body is too large");

// The proxies'.
pub const BAD_REQUEST: Type = sort(400, "bad-request", "The request is not valid HTTP");
pub const UNAUTHORIZED: Type = sort(401, "unauthorized", "Credentials are needed");
pub const DENIED: Type = sort(403, "denied", "The client may not use the service");
pub const NO_ROUTE: Type = sort(404, "no-route", "No service matches the request");
pub const QUOTA_EXCEEDED: Type = sort(429, "quota-exceeded", "A limit on requests is reached");
pub const REQUEST_TIMEOUT: Type = sort(408, "request-timeout", "The request did not arrive in time");
pub const HEAD_TOO_LARGE: Type = sort(431, "head-too-large", "The request's head is too large");
pub const UPSTREAM_FAILED: Type = sort(502, "upstream-failed", "The upstream failed");
pub const NO_UPSTREAM: Type = sort(503, "no-upstream", "No upstream can take the request");
pub const AUTHORIZER_UNAVAILABLE: Type = sort(
    503,
    "authorizer-unavailable",
    "The authorization server does not answer",
);
pub const DRAINING: Type = sort(503, "draining", "The proxy is shutting down");
pub const UPSTREAM_TIMEOUT: Type = sort(504, "upstream-timeout", "The upstream did not answer in time");

#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
    /// This occurrence, for people. Never a secret.
    pub detail: String,
    pub errors: Vec<FieldError>,
    /// Further members of the answer, beside the standard ones.
    pub extra: Map<String, Value>,
}

impl Problem {
    pub fn new(of: Type, detail: impl Into<String>) -> Problem {
        let Type { kind, title, status } = of;
        Problem {
            kind,
            title,
            status,
            detail: detail.into(),
            errors: Vec::new(),
            extra: Map::new(),
        }
    }

    /// Adds one member; a name of a standard member is the caller's mistake and would be there twice.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    pub fn field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Problem {
        self.errors.push(FieldError {
            field: field.into(),
            detail: detail.into(),
        });
        self
    }

    /// The answer's body, one line without its end.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and JSON values only: this cannot fail, and an empty body beside the status is what would remain.
        serde_json::to_vec(&Rendered::of(self)).unwrap_or_default()
    }
}

/// A document that was refused, with its fields.
impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Problem {
        let of = match invalid.kind {
            InvalidKind::Malformed => MALFORMED,
            InvalidKind::Invalid => INVALID,
        };
        Problem {
            errors: invalid.errors.clone(),
            ..Problem::new(of, invalid.to_string())
        }
    }
}

#[derive(Serialize)]
struct Rendered<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<RenderedField<'a>>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct RenderedField<'a> {
    field: &'a str,
    detail: &'a str,
}

impl Rendered<'_> {
    fn of(problem: &Problem) -> Rendered<'_> {
        Rendered {
            r#type: format!("urn:vulcan:{}", problem.kind),
            title: problem.title,
            status: problem.status,
            detail: &problem.detail,
            errors: problem
                .errors
                .iter()
                .map(|FieldError { field, detail }| RenderedField { field, detail })
                .collect(),
            extra: &problem.extra,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_of_the_rfc() {
        let problem = Problem::new(INVALID, "one field is wrong")
            .field("match[0].path_regex", "unclosed group")
            .with("committed", false);
        let expected = concat!(
            r#"{"type":"urn:vulcan:invalid","title":"The content is not valid","status":422,"#,
            r#""detail":"one field is wrong","#,
            r#""errors":[{"field":"match[0].path_regex","detail":"unclosed group"}],"committed":false}"#,
        );
        assert_eq!(String::from_utf8(problem.to_json()).unwrap(), expected);
    }

    #[test]
    fn a_refused_document_keeps_its_fields() {
        let problem = Problem::from(Invalid::field("match[0].priority", "too high"));
        assert_eq!((problem.kind, problem.status), ("invalid", 422));
        assert_eq!(problem.detail, "match[0].priority: too high");
        assert_eq!(problem.errors[0].field, "match[0].priority");
    }

    #[test]
    fn without_errors_there_is_no_such_member() {
        let body: Value = serde_json::from_slice(&Problem::new(NO_ROUTE, "GET example.com/").to_json()).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 4);
    }
}

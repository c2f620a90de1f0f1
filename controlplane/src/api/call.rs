//! A request as handlers take it: read whole, within a limit and a deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use http_body::Body as _;
use http_body_util::BodyExt;
use net::problem::{self, Problem};
use serde_json::{Map, Value};
use shared::model::{AuthorizerName, Invalid, LimitId, ServiceName, UpstreamId, json};
use tokio::time::{Instant, timeout_at};

use super::access::Caller;
use super::answer::Failure;
use super::linger::forget_rest;
use super::query::{Query, invalid};
use super::roles::Role;
use super::room::{Place, Room};
use crate::registry::Conditions;
use crate::registry::conditions::Tags;
use crate::registry::scope::Scope;

const BODY_BYTES_MAX: usize = 1 << 20;

const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Between two pieces of a body.
const PIECE_WITHIN: Duration = Duration::from_secs(10);

pub struct Call {
    pub actor: Arc<str>,
    role: Role,
    headers: HeaderMap,
    params: Vec<(String, String)>,
    query: Option<String>,
    body: Bytes,
    /// For as long as the body is held.
    place: Option<Place>,
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Call, Failure> {
        Call::of(request, BODY_BYTES_MAX, BODY_WITHIN).await
    }
}

impl Call {
    /// `most`: bytes of the body, which must have come `within` that time.
    pub async fn of(request: Request, most: usize, within: Duration) -> Result<Call, Failure> {
        let (mut parts, body) = request.into_parts();
        let params = RawPathParams::from_request_parts(&mut parts, &())
            .await
            .map_err(|_| Problem::new(problem::MALFORMED, "the path is not UTF-8"))?;
        let params = params
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let (body, place) = read(&parts, body, most, within).await?;
        check_media(&parts, &body)?;
        let caller = parts.extensions.get::<Caller>().cloned();
        let unknown = || Problem::new(problem::UNAUTHENTICATED, "nobody was let in");
        let Caller { name: actor, role, .. } = caller.ok_or_else(unknown)?;
        let query = parts.uri.query().map(str::to_owned);
        Ok(Call {
            actor,
            role,
            headers: parts.headers,
            params,
            query,
            body,
            place,
        })
    }

    /// The services that the caller may touch, and may be told of; none: all.
    pub fn scope(&self) -> Option<&Scope> {
        self.role.scope()
    }

    /// The body, which is gone from here then, and the room that it takes.
    pub fn take_body(&mut self) -> (Bytes, Option<Place>) {
        (std::mem::take(&mut self.body), self.place.take())
    }

    pub fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(self.query.as_deref(), known)
    }

    /// With one parameter that may be given several times.
    pub fn query_with(&self, known: &[&str], several: &str) -> Result<Query, Problem> {
        Query::parse_with(self.query.as_deref(), known, several)
    }

    /// A part of the path, decoded.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(other, _)| other == name)
            .map_or("", |(_, value)| value)
    }

    /// The service in the path; `field` is what its representation calls it.
    pub fn service(&self, field: &str) -> Result<ServiceName, Invalid> {
        ServiceName::try_from(self.param("service")).map_err(|rule| Invalid::field(field, rule))
    }

    pub fn authorizer(&self) -> Result<AuthorizerName, Invalid> {
        AuthorizerName::try_from(self.param("authorizer")).map_err(|rule| Invalid::field("name", rule))
    }

    /// In either case: the one form of it is in lower case.
    pub fn limit(&self) -> Result<LimitId, Invalid> {
        let id = self.param("limit").to_ascii_lowercase();
        LimitId::try_from(&*id).map_err(|rule| Invalid::field("id", rule))
    }

    pub fn upstream(&self) -> Result<UpstreamId, Invalid> {
        UpstreamId::try_from(self.param("id")).map_err(|rule| Invalid::field("id", rule))
    }

    pub fn has_no_body(&self) -> bool {
        self.body.is_empty()
    }

    pub fn json(&self) -> Result<Value, Problem> {
        if self.has_no_body() {
            return Err(Problem::new(problem::MALFORMED, "a JSON body is required"));
        }
        Ok(json::parse(utf8(&self.body)?)?)
    }

    /// An empty body is an object without members.
    pub fn json_or_empty(&self) -> Result<Value, Problem> {
        match self.has_no_body() {
            true => Ok(Value::Object(Map::new())),
            false => self.json(),
        }
    }

    pub fn conditions(&self) -> Result<Conditions, Problem> {
        Ok(Conditions {
            if_match: self.tags(&IF_MATCH)?,
            if_none_match: self.tags(&IF_NONE_MATCH)?,
        })
    }

    /// For what has no entity tag of its own, and so nothing that a condition could be held against.
    pub fn unconditional(&self) -> Result<(), Problem> {
        for (name, shown) in [(IF_MATCH, "If-Match"), (IF_NONE_MATCH, "If-None-Match")] {
            if self.headers.contains_key(name) {
                return Err(invalid(
                    shown,
                    "there is no entity tag here that the condition could be about",
                ));
            }
        }
        Ok(())
    }

    fn tags(&self, name: &HeaderName) -> Result<Option<Tags>, Problem> {
        let malformed = || Problem::new(problem::MALFORMED, format!("{name} is no list of entity tags"));
        let values: Result<Vec<&str>, _> = self.headers.get_all(name).iter().map(|value| value.to_str()).collect();
        let values = values.map_err(|_| malformed())?;
        match values.is_empty() {
            true => Ok(None),
            false => Tags::parse(&values.join(",")).map(Some).ok_or_else(malformed),
        }
    }
}

pub fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body)
        .map_err(|error| Problem::new(problem::MALFORMED, format!("the body is not UTF-8: {error}")))
}

/// The body, and its place among those that are held.
async fn read(parts: &Parts, mut body: Body, most: usize, within: Duration) -> Result<(Bytes, Option<Place>), Problem> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let too_large = || Problem::new(problem::TOO_LARGE, format!("a body has {most} bytes at most"));
    let expected = announced(&parts.headers).unwrap_or(most);
    let place = match parts.extensions.get::<Arc<Room>>() {
        _ if expected > most => Err(too_large()),
        // Where longer ones are taken, they are few.
        Some(room) => room.take(expected.min(BODY_BYTES_MAX)).map(Some),
        None => Ok(None),
    };
    let place = match place {
        Ok(place) => place,
        Err(problem) => {
            forget_rest(&parts.headers, body);
            return Err(problem);
        }
    };
    let end = Instant::now() + within;
    let mut read = BytesMut::new();
    loop {
        let due = end.min(Instant::now() + PIECE_WITHIN);
        let piece = match timeout_at(due, body.frame()).await {
            Ok(Some(Ok(piece))) => piece.into_data().unwrap_or_default(),
            Ok(Some(Err(error))) => {
                return Err(Problem::new(problem::MALFORMED, format!("the body broke off: {error}")));
            }
            Ok(None) => return Ok((read.freeze(), place)),
            Err(_) => return Err(Problem::new(problem::MALFORMED, "the body did not arrive in time")),
        };
        if piece.len() > most - read.len() {
            forget_rest(&parts.headers, body);
            return Err(too_large());
        }
        read.extend_from_slice(&piece);
    }
}

/// How long the body is, if that is said beforehand.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body may be longer than those that most requests may have, of which many are held at a time.
pub fn may_be_long(headers: &HeaderMap) -> bool {
    announced(headers).is_none_or(|bytes| bytes > BODY_BYTES_MAX)
}

/// A page in a browser can send a body unasked only as another type than JSON, so that is refused before anything else.
fn check_media(parts: &Parts, body: &Bytes) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    if matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE) {
        return Err(Problem::new(
            problem::MALFORMED,
            format!("{} takes no body here", parts.method),
        ));
    }
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    let given = types
        .next()
        .and_then(|value| value.to_str().ok())
        .map(essence)
        .filter(|_| types.next().is_none());
    match given.as_deref() {
        Some("application/json") => Ok(()),
        Some("application/merge-patch+json") if parts.method == Method::PATCH => Ok(()),
        _ => Err(Problem::new(
            problem::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type: application/json is expected",
        )),
    }
}

/// A media type without its parameters.
fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

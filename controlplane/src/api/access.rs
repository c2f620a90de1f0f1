//! Who may call. With tokens: whoever presents one, for what its role is good for. Without: this machine.

mod guesses;
mod local;
mod until;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::RequestExt;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};
use net::problem::{self, Problem};
use net::said::Said;
use tokio_util::sync::CancellationToken;

use super::answer::Failure;
use super::linger::forget;
use super::roles::{self, Needs, Role};
use super::room::Room;
use super::server::Newcomer;
use super::tokens::{Secret, Tokens};
use guesses::Guesses;
use until::Until;

pub enum Access {
    /// The listener is bound to a loopback address.
    Loopback,
    Tokens {
        tokens: Arc<Tokens>,
        /// What other control planes present.
        peer: Option<Secret>,
    },
}

/// In the extensions of every request that was let in: who it is, for the history, and what that is good for.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: Arc<str>,
    pub role: Role,
    /// When the token is known no longer, or is good for something else; none: that does not happen.
    pub withdrawn: Option<CancellationToken>,
}

impl Caller {
    /// Without a token of the file.
    fn of_house(name: &str) -> Caller {
        Caller {
            name: name.into(),
            role: Role::Admin,
            withdrawn: None,
        }
    }
}

/// What is asked by programs that ask again by themselves.
const STREAMS: [Needs; 3] = [Needs::Stream, Needs::Snapshot, Needs::Peer];

/// Why somebody is turned away.
struct Refusal {
    problem: Box<Problem>,
    /// When it may be tried again.
    after: Option<Duration>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal {
            problem: Box::new(problem),
            after: None,
        }
    }
}

impl Access {
    /// None: without tokens the API would be open to others than this machine.
    pub fn of(tokens: Option<Arc<Tokens>>, peer: Option<&str>, admin: SocketAddr) -> Option<Access> {
        match tokens {
            Some(tokens) => Some(Access::Tokens {
                tokens,
                peer: peer.map(Secret::of),
            }),
            None => admin.ip().is_loopback().then_some(Access::Loopback),
        }
    }

    fn identify(&self, request: &Request, needs: Needs, guesses: &Guesses) -> Result<Caller, Refusal> {
        let Access::Tokens { tokens, peer } = self else {
            local::check(request)?;
            return Ok(Caller::of_house("local"));
        };
        let refused = |detail| Refusal::from(Problem::new(problem::UNAUTHENTICATED, detail));
        let Some(token) = bearer(request.headers()) else {
            return Err(refused("Authorization: Bearer and a token are expected"));
        };
        let secret = Secret::of(token);
        let (caller, unknown) = match needs {
            Needs::Peer => {
                let known = peer.as_ref().is_some_and(|peer| peer.is(&secret));
                let caller = known.then(|| Caller::of_house("peer"));
                (caller, "the token of a control plane is expected")
            }
            _ => (tokens.find(&secret), "the token is not known"),
        };
        match guesses.judge(from(request), &secret, caller.is_some(), Instant::now()) {
            Ok(true) => caller.ok_or_else(|| refused(unknown)),
            Ok(false) => Err(refused(unknown)),
            Err(wait) => {
                let detail = "too many tokens that nobody has were presented from this address";
                Err(Refusal {
                    problem: Box::new(Problem::new(problem::TOO_MANY_REQUESTS, detail)),
                    after: Some(wait),
                })
            }
        }
    }
}

/// Who is let in, and whose being turned away was said.
pub struct Guard {
    access: Arc<Access>,
    guesses: Guesses,
    said: Said<u16>,
    room: Arc<Room>,
}

impl Guard {
    pub fn new(access: Arc<Access>) -> Guard {
        Guard {
            access,
            guesses: Guesses::default(),
            said: Said::default(),
            room: Arc::default(),
        }
    }

    /// `route`: as the router has it, none if it knows no such path; `service`: the one in the path.
    fn admit(&self, request: &Request, route: Option<&str>, service: Option<&str>) -> Result<Caller, Refusal> {
        let needs = roles::needs(route, request.method()).unwrap_or(Needs::Admin);
        let caller = self.access.identify(request, needs, &self.guesses)?;
        match route {
            // Whoever presented the token of control planes was let in as one of them.
            Some(route) if needs != Needs::Peer && !caller.role.may(needs, service) => {
                let what = format_args!("{} {route}", request.method());
                Err(caller.role.refusal(needs, what).into())
            }
            _ => Ok(caller),
        }
    }

    /// A proxy that is turned away comes again and again, and nobody is there to read the answer.
    fn say(&self, request: &Request, needs: Option<Needs>, problem: &Problem) {
        let is_stream = needs.is_some_and(|needs| STREAMS.contains(&needs));
        let is_guess = problem.kind == problem::TOO_MANY_REQUESTS.kind;
        let address = from(request);
        if (is_stream || is_guess) && self.said.is_news(&address.to_string(), problem.status, Instant::now()) {
            let path = request.uri().path();
            match is_stream {
                true => tracing::warn!(%address, path, "a stream is turned away: {}", problem.detail),
                false => tracing::warn!(%address, path, "somebody is turned away: {}", problem.detail),
            }
        }
    }
}

pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let needs = roles::needs(route, request.method());
    if needs == Some(Needs::Nothing) {
        return next.run(request).await;
    }
    let params = request.extract_parts::<RawPathParams>().await.ok();
    let mut params = params.iter().flat_map(RawPathParams::iter);
    let service = params.find_map(|(name, value)| (name == "service").then_some(value));
    match guard.admit(&request, route, service) {
        Ok(caller) => {
            if let Some(newcomer) = request.extensions().get::<Arc<Newcomer>>() {
                newcomer.admitted();
            }
            let withdrawn = caller.withdrawn.clone();
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(guard.room.clone());
            let response = next.run(request).await;
            match withdrawn {
                Some(withdrawn) if is_endless(&response) => response.map(|body| Body::new(Until::new(body, withdrawn))),
                _ => response,
            }
        }
        Err(Refusal { problem, after }) => {
            guard.say(&request, needs, &problem);
            let mut response = Failure(problem).into_response();
            if let Some(after) = after {
                let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            forget(request);
            response
        }
    }
}

/// Streams of proxies, and watching.
fn is_endless(response: &Response) -> bool {
    let is_lines = |value: &HeaderValue| value.as_bytes() == b"application/x-ndjson";
    response.headers().get(CONTENT_TYPE).is_some_and(is_lines)
}

/// Where it comes from.
fn from(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |ConnectInfo(peer)| peer.ip())
}

/// None also where there are two: whoever stands in between may have looked at the other one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut presented = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (presented.next()?, presented.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

//! Who may call. With tokens: whoever presents one. Without: this machine, where a browser must not lend its hands to a
//! page from elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use net::problem::{self, Problem};
use net::said::Said;

use super::answer::Failure;
use super::tokens::{Secret, Tokens};
use crate::dashboard;

pub enum Access {
    /// The listener is bound to a loopback address.
    Loopback,
    Tokens {
        tokens: Arc<Tokens>,
        /// What other control planes present.
        peer: Option<Secret>,
    },
}

/// In the extensions of every request that was let in: who it is, for the history.
#[derive(Clone, Debug)]
pub struct Actor(pub Arc<str>);

/// Control planes among themselves: with a token of their own, which opens nothing else.
const PEERS: &str = "/v1/peers";

fn is_among_peers(path: &str) -> bool {
    path.strip_prefix(PEERS)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is asked by programs that ask again by themselves.
const STREAMS: [&str; 3] = ["/v1/stream", "/v1/snapshot", PEERS];

/// What is open to all: it tells nothing.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

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

    fn admit(&self, request: &Request) -> Result<Actor, Problem> {
        match self {
            Access::Loopback => {
                local(request)?;
                Ok(Actor("local".into()))
            }
            Access::Tokens { peer, .. } if is_among_peers(request.uri().path()) => {
                let presented = bearer(request.headers());
                let known = presented.zip(peer.as_ref()).is_some_and(|(token, peer)| peer.is(token));
                match known {
                    true => Ok(Actor("peer".into())),
                    false => Err(Problem::new(
                        problem::UNAUTHENTICATED,
                        "the token of a control plane is expected",
                    )),
                }
            }
            Access::Tokens { tokens, .. } => {
                let presented = bearer(request.headers());
                let name = presented.and_then(|token| tokens.name_of(token));
                name.map(Actor).ok_or_else(|| {
                    let detail = match presented {
                        Some(_) => "the token is not known",
                        None => "Authorization: Bearer and a token are expected",
                    };
                    Problem::new(problem::UNAUTHENTICATED, detail)
                })
            }
        }
    }
}

/// Who is let in, and whose being turned away was said.
pub struct Guard {
    access: Arc<Access>,
    said: Said<u16>,
}

impl Guard {
    pub fn new(access: Arc<Access>) -> Guard {
        Guard {
            access,
            said: Said::default(),
        }
    }

    /// A proxy that is turned away comes again and again, and nobody is there to read the answer.
    fn say(&self, request: &Request, problem: &Problem) {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let (path, Some(ConnectInfo(peer))) = (request.uri().path(), peer) else {
            return;
        };
        if STREAMS.contains(&path)
            && self
                .said
                .is_news(&peer.ip().to_string(), problem.status, Instant::now())
        {
            tracing::warn!(address = %peer, path, "a stream is turned away: {}", problem.detail);
        }
    }
}

pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    if !OPEN.contains(&request.uri().path()) && !dashboard::is_page(request.uri().path()) {
        match guard.access.admit(&request) {
            Ok(actor) => drop(request.extensions_mut().insert(actor)),
            Err(problem) => {
                guard.say(&request, &problem);
                return Failure::from(problem).into_response();
            }
        }
    }
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a page of this very listener sends it: scheme, host and port are those that are asked. `local` looks at the host.
fn is_own(origin: &http::HeaderValue, request: &Request) -> bool {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| request.headers().get(HOST)?.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    origin
        .zip(host)
        .is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// A page from elsewhere that a browser on this machine shows has another origin, and after DNS rebinding another host.
fn local(request: &Request) -> Result<(), Problem> {
    let forbidden = |detail: String| Problem::new(problem::FORBIDDEN, detail);
    let origins = request.headers().get_all(ORIGIN);
    if let Some(origin) = origins.iter().find(|origin| !is_own(origin, request)) {
        return Err(forbidden(format!(
            "without tokens nothing is taken from a page from elsewhere ({})",
            shown(origin)
        )));
    }
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let mut named = false;
    for host in request.headers().get_all(HOST) {
        named = true;
        match host.to_str() {
            Ok(text) if is_local(text) => {}
            _ => {
                return Err(forbidden(format!(
                    "without tokens the host {} is not served",
                    shown(host)
                )));
            }
        }
    }
    match authority {
        Some(authority) if !is_local(authority) => {
            Err(forbidden(format!("without tokens the host {authority} is not served")))
        }
        None if !named => Err(Problem::new(problem::MALFORMED, "the request names no host")),
        _ => Ok(()),
    }
}

fn shown(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `localhost` or a loopback address, with any port.
fn is_local(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) && is_port(port);
    }
    let at = authority.find(':').unwrap_or(authority.len());
    let (host, port) = authority.split_at(at);
    let local =
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    local && is_port(port)
}

/// `:80`, or nothing.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for host in [
            "localhost",
            "LocalHost:8182",
            "127.0.0.1:8182",
            "127.1.2.3",
            "[::1]:8182",
            "[::1]",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1:8182",
            "[::2]:8182",
            "::1",
            "[::1",
            "localhost:80@example.com",
            "localhost:x",
            "user@localhost",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}

//! Without tokens: this machine alone, where a browser must not lend its hands to a page from elsewhere.

use std::net::IpAddr;

use axum::extract::Request;
use http::header::{HOST, ORIGIN};
use net::problem::{self, Problem};

use crate::api::server::Scheme;

/// Whether a page of this very listener sends it: scheme, host and port are those that are asked. `check` looks at the host.
fn is_own(origin: &http::HeaderValue, request: &Request) -> bool {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| request.headers().get(HOST)?.to_str().ok());
    let scheme = request.extensions().get::<Scheme>();
    let own = scheme.zip(host).map(|(Scheme(scheme), host)| format!("{scheme}{host}"));
    own.is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

/// A page from elsewhere that a browser on this machine shows has another origin, and after DNS rebinding another host.
pub fn check(request: &Request) -> Result<(), Problem> {
    let forbidden = |detail: String| Problem::new(problem::FORBIDDEN, detail);
    let mut origins = request.headers().get_all(ORIGIN).iter();
    if let Some(origin) = origins.find(|origin| !is_own(origin, request)) {
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

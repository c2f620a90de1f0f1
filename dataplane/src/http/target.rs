//! What a request is for (RFC 9112, 3.2).

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, request};
use shared::table::Headers;

use super::head::is_host_byte;
use super::refusal::Refusal;

/// The head with its target in origin form, so that host and path are told in one way only. What remains to be seen of
/// the path is seen where it is compared.
pub fn to_origin_form(head: &mut request::Parts) -> Result<(), Refusal> {
    if let Some(authority) = head.uri.authority() {
        let Some(path_and_query) = head.uri.path_and_query() else {
            return Err(Refusal::bad_request("the target has no path"));
        };
        if head.uri.scheme_str() != Some("http") {
            return Err(Refusal::bad_request("the target's scheme is not http"));
        }
        match head.headers.get(header::HOST) {
            Some(host) if !is_same(authority, host) => {
                return Err(Refusal::bad_request("the target's host is not that of Host"));
            }
            Some(_) => {}
            // HTTP/1.0. What no Host may hold must not become one.
            None => {
                let is_host = authority.as_str().bytes().all(is_host_byte);
                let host = HeaderValue::from_str(authority.as_str()).ok().filter(|_| is_host);
                let host = host.ok_or_else(|| Refusal::bad_request("the target's host is not valid"))?;
                head.headers.insert(header::HOST, host);
            }
        }
        // As it is displayed: where a query follows the authority, the path is empty and means `/` (RFC 9112, 3.2.1).
        let invalid = |_| Refusal::bad_request("the target is no path");
        head.uri = path_and_query.to_string().parse().map_err(invalid)?;
    }
    match head.uri.path_and_query().map_or("", PathAndQuery::as_str) {
        "*" if head.method == Method::OPTIONS => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err(Refusal::bad_request("the target is no path")),
    }
}

/// A user name, or any other port than the same, makes another host of it.
fn is_same(authority: &Authority, host: &HeaderValue) -> bool {
    fn without_default_port(host: &str) -> &str {
        host.strip_suffix(":80").unwrap_or(host)
    }
    let host = host.to_str().unwrap_or_default();
    without_default_port(authority.as_str()).eq_ignore_ascii_case(without_default_port(host))
}

/// Empty without a Host, which only HTTP/1.0 can do without.
pub fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or_default()
}

/// Headers as matches see them.
pub struct View<'a>(pub &'a HeaderMap);

impl Headers for View<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_form(method: &str, target: &str, host: Option<&str>) -> Option<(String, String)> {
        let mut request = http::Request::builder().method(method).uri(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        to_origin_form(&mut head).ok()?;
        let target = head.uri.path_and_query()?.as_str();
        Some((target.to_owned(), super::host(&head.headers).to_owned()))
    }

    #[test]
    fn every_form_becomes_the_origin_form() {
        let is = |path: &str, host: &str| Some((path.to_owned(), host.to_owned()));
        assert_eq!(origin_form("GET", "/a?b", Some("h:1")), is("/a?b", "h:1"));
        assert_eq!(origin_form("GET", "/", None), is("/", ""));
        assert_eq!(origin_form("OPTIONS", "*", Some("h")), is("*", "h"));
        assert_eq!(origin_form("GET", "http://H/a?b", Some("h")), is("/a?b", "h"));
        assert_eq!(origin_form("GET", "http://h:80/", Some("h")), is("/", "h"));
        assert_eq!(origin_form("GET", "http://h?b", Some("h:80")), is("/?b", "h:80"));
        assert_eq!(origin_form("GET", "http://h?b/../c", Some("h")), is("/?b/../c", "h"));
        assert_eq!(origin_form("OPTIONS", "http://h?", Some("h")), is("/?", "h"));
        assert_eq!(origin_form("GET", "http://h", Some("h")), is("/", "h"));
        assert_eq!(origin_form("GET", "http://h/", None), is("/", "h"));
    }

    #[test]
    fn what_can_be_told_in_two_ways_is_refused() {
        assert_eq!(origin_form("GET", "http://a/", Some("b")), None);
        assert_eq!(origin_form("GET", "http://a:81/", Some("a")), None);
        assert_eq!(origin_form("GET", "http://u@a/", Some("a")), None);
        assert_eq!(origin_form("GET", "http://u@a/", None), None);
        assert_eq!(origin_form("GET", "http://a,b/", None), None);
        assert_eq!(origin_form("GET", "https://a/", Some("a")), None);
        assert_eq!(origin_form("GET", "a:80", Some("a:80")), None);
        assert_eq!(origin_form("GET", "*", Some("a")), None);
    }
}

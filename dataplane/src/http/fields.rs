//! Which header fields go no further than this proxy (RFC 9110, 7.6.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

pub const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a head says about this one connection, taken out of it.
#[derive(Debug, Default)]
pub struct HopByHop {
    /// The values of `Upgrade`, if `Connection` names it.
    pub upgrade: Option<HeaderValue>,
    /// For how many seconds the sender keeps an idle connection (`Keep-Alive: timeout=5`).
    pub keep_alive: Option<u64>,
    pub takes_trailers: bool,
}

/// Takes out what belongs to the connection, and what its sender nominates by `Connection`. A nomination of what a
/// message cannot do without is void: it would make another message of it.
pub fn take_hop_by_hop(headers: &mut HeaderMap) -> HopByHop {
    let mut hop = HopByHop::default();
    if !headers.keys().any(is_hop_by_hop) {
        return hop;
    }
    let mut nominated: Vec<HeaderName> = Vec::new();
    if headers.contains_key(header::CONNECTION) {
        for token in tokens(headers, &header::CONNECTION) {
            match token {
                token if token.eq_ignore_ascii_case("close") || token.eq_ignore_ascii_case("keep-alive") => {}
                token => nominated.extend(HeaderName::from_bytes(token.as_bytes())),
            }
        }
        headers.remove(header::CONNECTION);
    }
    if headers.contains_key(header::TE) {
        hop.takes_trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
        headers.remove(header::TE);
    }
    if let Some(value) = headers.remove(KEEP_ALIVE) {
        hop.keep_alive = keep_alive_timeout(&value);
    }
    if headers.contains_key(header::UPGRADE) {
        let is_nominated = nominated.contains(&header::UPGRADE);
        hop.upgrade = is_nominated.then(|| upgrade_without_h2c(headers)).flatten();
        headers.remove(header::UPGRADE);
    }
    for name in [
        header::TRANSFER_ENCODING,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    for name in nominated {
        if name != header::HOST && name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    hop
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// The elements of a field that is a list of tokens. Values that are no visible ASCII are left out.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// HTTP/2 by upgrade would carry requests past this proxy. A value that cannot be looked into upgrades nothing.
fn upgrade_without_h2c(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers
        .get_all(header::UPGRADE)
        .iter()
        .any(|value| value.to_str().is_err())
    {
        return None;
    }
    let is_h2c = |token: &str| token.eq_ignore_ascii_case("h2c");
    let mut values = headers.get_all(header::UPGRADE).iter();
    let (first, next) = (values.next(), values.next());
    if next.is_none() && !tokens(headers, &header::UPGRADE).any(is_h2c) {
        return first.cloned();
    }
    let kept: Vec<&str> = tokens(headers, &header::UPGRADE)
        .filter(|token| !is_h2c(token))
        .collect();
    match kept.is_empty() {
        true => None,
        false => HeaderValue::from_str(&kept.join(", ")).ok(),
    }
}

fn keep_alive_timeout(value: &HeaderValue) -> Option<u64> {
    let parameters = value.to_str().ok()?.split(',');
    let timeout = parameters
        .map(str::trim)
        .find_map(|parameter| parameter.strip_prefix("timeout="))?;
    timeout.trim().parse().ok()
}

/// Trailers as they may go on: nothing that would have changed how the head was read (RFC 9110, 6.5.1).
pub fn trailers(frame: Frame<bytes::Bytes>) -> Option<Frame<bytes::Bytes>> {
    let mut trailers = frame.into_trailers().ok()?;
    take_hop_by_hop(&mut trailers);
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::EXPECT,
        header::TRAILER,
    ] {
        trailers.remove(name);
    }
    trailers
        .keys()
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|name| {
            if super::forwarded::is_ours(name.as_str()) {
                trailers.remove(name);
            }
        });
    Some(Frame::trailers(trailers))
}

/// Takes out the fields with this name, which is in lower case, also under the spelling that servers with CGI variables take
/// for it.
pub fn take_spellings(headers: &mut HeaderMap, name: &str) -> Vec<(HeaderName, HeaderValue)> {
    let mut taken = Vec::new();
    while let Some(key) = headers.keys().find(|key| is_spelling(key.as_str(), name)).cloned() {
        taken.extend(headers.get_all(&key).iter().map(|value| (key.clone(), value.clone())));
        headers.remove(key);
    }
    taken
}

/// As `take_spellings`, but leaves those that are spelled as the name is.
pub fn remove_other_spellings(headers: &mut HeaderMap, name: &str) {
    let is_other = |key: &&HeaderName| key.as_str() != name && is_spelling(key.as_str(), name);
    while let Some(key) = headers.keys().find(is_other).cloned() {
        headers.remove(key);
    }
}

fn is_spelling(key: &str, name: &str) -> bool {
    let plain = |b: u8| if b == b'_' { b'-' } else { b };
    key.len() == name.len() && key.bytes().map(plain).eq(name.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_connections_fields_and_the_nominated_go_no_further() {
        let mut headers = headers(&[
            ("Connection", "close, X-One"),
            ("Connection", "x-two,, Host, content-length"),
            ("Keep-Alive", "max=3, timeout=5"),
            ("TE", "trailers, deflate"),
            ("Transfer-Encoding", "chunked"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "secret"),
            ("Upgrade", "websocket"),
            ("X-One", "1"),
            ("X-Two", "2"),
            ("X-Three", "3"),
            ("Host", "a"),
            ("Content-Length", "0"),
        ]);
        let hop = take_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["content-length", "host", "x-three"]);
        assert_eq!((hop.keep_alive, hop.takes_trailers), (Some(5), true));
        assert_eq!(hop.upgrade, None, "Connection does not name it");
    }

    #[test]
    fn an_upgrade_is_told_but_for_h2c() {
        let upgrade = |values: &[(&str, &str)]| {
            let mut headers = headers(values);
            headers.append("connection", HeaderValue::from_static("upgrade, HTTP2-Settings"));
            headers.append("http2-settings", HeaderValue::from_static("AAMAAABkAAQAAP__"));
            let hop = take_hop_by_hop(&mut headers);
            assert!(headers.is_empty());
            hop.upgrade.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(upgrade(&[("upgrade", "websocket")]).as_deref(), Some("websocket"));
        assert_eq!(upgrade(&[("upgrade", "H2C, websocket")]).as_deref(), Some("websocket"));
        assert_eq!(
            upgrade(&[("upgrade", "a"), ("upgrade", "h2c, b")]).as_deref(),
            Some("a, b")
        );
        assert_eq!(upgrade(&[("upgrade", "h2c")]), None);
        assert_eq!(upgrade(&[("upgrade", "h2c, websock\u{e9}t")]), None);
        assert_eq!(upgrade(&[]), None);
    }

    #[test]
    fn trailers_hold_nothing_that_belongs_to_a_head() {
        let frame = Frame::trailers(headers(&[
            ("Authorization", "x"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X_Forwarded_For", "1.2.3.4"),
            ("Grpc-Status", "0"),
        ]));
        let trailers = trailers(frame).unwrap().into_trailers().unwrap();
        assert_eq!(names(&trailers), ["grpc-status"]);
    }
}

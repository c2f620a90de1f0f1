//! What a proxy takes out of a head, and what it writes into one.

use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use dataplane::http::fields::{take_hop_by_hop, trailers};
use dataplane::http::forwarded::{Forwarding, is_ours};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use ipnet::IpNet;

#[derive(Arbitrary, Debug)]
pub struct Input {
    peer: Peer,
    fields: Vec<(Name, Value)>,
}

#[derive(Arbitrary, Debug)]
enum Peer {
    Trusted,
    V4([u8; 4]),
    V6([u8; 16]),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Known(u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Known(u8),
    List(u8, u8),
    Any(Vec<u8>),
}

const NAMES: [&str; 26] = [
    "host",
    "connection",
    "te",
    "keep-alive",
    "upgrade",
    "transfer-encoding",
    "content-length",
    "proxy-connection",
    "proxy-authorization",
    "http2-settings",
    "trailer",
    "expect",
    "authorization",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x_forwarded_for",
    "x-vulcan-auth-token",
    "x_vulcan_user",
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-one",
    "x_two",
];
const VALUES: [&str; 16] = [
    "close",
    "keep-alive",
    "upgrade",
    "h2c",
    "websocket",
    "trailers",
    "chunked",
    "timeout=5",
    "host",
    "content-length",
    "x-one",
    "10.1.1.1",
    "1.2.3.4:5",
    "::1",
    "[2001:db8::1]:80",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
];
const LOCAL_PORT: u16 = 8080;

impl Input {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let known = |of: &[&'static str], index: &u8| of[usize::from(*index) % of.len()];
        for (name, value) in self.fields.iter().take(64) {
            let name = match name {
                Name::Known(index) => known(&NAMES, index),
                Name::Any(name) => name,
            };
            let value = match value {
                Value::Known(index) => known(&VALUES, index).into(),
                Value::List(one, other) => format!("{}, {}", known(&VALUES, one), known(&VALUES, other)).into_bytes(),
                Value::Any(bytes) => bytes.clone(),
            };
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
                headers.append(name, value);
            }
        }
        headers
    }

    fn peer(&self) -> IpAddr {
        match self.peer {
            Peer::Trusted => [10, 9, 9, 9].into(),
            Peer::V4(address) => address.into(),
            Peer::V6(address) => address.into(),
        }
    }
}

pub fn check(input: Input) {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
    let mut headers = input.headers();
    taken(&mut headers);
    let local = SocketAddr::from(([127, 0, 0, 1], LOCAL_PORT));
    let peer = input.peer().to_canonical();
    let forwarding = Forwarding::new(SocketAddr::new(input.peer(), 1), local, &trusted);
    let is_trusted = trusted[0].contains(&peer);
    let client = forwarding.client(&headers, &trusted);
    assert!(is_trusted || client == peer);
    let said = headers.clone();
    forwarding.write(&mut headers);
    written(&headers, &said, peer, is_trusted);
    let frame = Frame::trailers(input.headers());
    let kept = trailers(frame).expect("trailers").into_trailers().expect("trailers");
    let refused = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::AUTHORIZATION,
    ];
    assert!(!kept.keys().any(|name| is_ours(name.as_str()) || refused.contains(name)));
}

/// What belongs to the connection goes, what was nominated goes, and all else stays as it was.
pub fn taken(headers: &mut HeaderMap) {
    let before = headers.clone();
    let hop = take_hop_by_hop(headers);
    let hops = [
        header::CONNECTION,
        header::TE,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    let nominated: Vec<String> = before
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    for name in before.keys() {
        let stays = [header::HOST, header::CONTENT_LENGTH].contains(name)
            || !(hops.contains(name) || nominated.iter().any(|token| token == name.as_str()));
        let are = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        // `Connection: close` and `keep-alive` nominate no field.
        let is_option = ["close", "keep-alive"].contains(&name.as_str());
        assert!(is_option || headers.contains_key(name) == stays, "{name}");
        assert!(!headers.contains_key(name) || are(headers) == are(&before), "{name}");
    }
    if let Some(upgrade) = hop.upgrade {
        assert!(nominated.iter().any(|token| token == "upgrade"));
        let text = String::from_utf8_lossy(upgrade.as_bytes()).to_ascii_lowercase();
        assert!(!text.split(',').any(|token| token.trim() == "h2c"), "{text}");
    }
    let once = headers.clone();
    take_hop_by_hop(headers);
    assert_eq!(*headers, once);
}

fn written(headers: &HeaderMap, said: &HeaderMap, peer: IpAddr, is_trusted: bool) {
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(is_trusted || values.next().is_none(), "{name} twice");
        first.as_bytes().to_vec()
    };
    let list = String::from_utf8_lossy(&only("x-forwarded-for")).into_owned();
    let last = list.rsplit(", ").next().expect("the peer");
    assert_eq!(last, peer.to_string());
    assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
    if !is_trusted {
        assert_eq!(list, peer.to_string());
        assert_eq!(only("x-forwarded-proto"), b"http");
        assert_eq!(only("x-forwarded-port"), LOCAL_PORT.to_string().as_bytes());
        // Where the client named no host, nobody else's word of one goes on.
        assert_eq!(headers.get("x-forwarded-host"), said.get(header::HOST));
        assert!(headers.get_all("x-forwarded-host").iter().count() <= 1);
        assert!(only("forwarded").starts_with(b"for="));
    }
    for name in headers.keys().map(HeaderName::as_str) {
        assert!(!name.starts_with("x-vulcan-"), "{name}");
        assert!(!name.contains('_') || !is_ours(name), "{name}");
    }
    let id = only("x-request-id");
    assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
    assert!((1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic));
    assert_eq!(headers.get_all("traceparent").iter().count(), 1);
    assert_eq!(only("traceparent").len(), 55);
}

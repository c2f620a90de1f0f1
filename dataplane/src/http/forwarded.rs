//! What the upstream is told of the client: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Request-Id` and `traceparent`.
//!
//! No `Via`: reverse proxies do not send one, and servers that see it withhold compression.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::pipeline::dice::roll;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const HTTP: HeaderValue = HeaderValue::from_static("http");

const REQUEST_ID_BYTES_MAX: usize = 128;

/// Fields by which a proxy speaks to an upstream, also under the spelling that servers with CGI variables take for them.
pub fn is_ours(name: &str) -> bool {
    let ours = |name: &str| {
        name.starts_with("x-forwarded-")
            || name.starts_with("x-vulcan-")
            || name.starts_with("x-original-")
            || ["forwarded", "x-real-ip", "x-request-id", "traceparent", "tracestate"].contains(&name)
    };
    match name.contains('_') {
        true => ours(&name.replace('_', "-")),
        false => ours(name),
    }
}

/// One client connection's part of every head.
pub struct Forwarding {
    peer: IpAddr,
    /// A proxy in front of this one, which is believed.
    is_trusted: bool,
    address: HeaderValue,
    port: HeaderValue,
    /// The last `Forwarded` with the host that it was made for: clients seldom change it.
    forwarded: RefCell<Option<(Option<HeaderValue>, HeaderValue)>>,
}

impl Forwarding {
    pub fn new(peer: SocketAddr, local: SocketAddr, trusted: &[IpNet]) -> Forwarding {
        // A listener on [::] sees IPv4 clients under their mapped address.
        let peer = peer.ip().to_canonical();
        Forwarding {
            peer,
            is_trusted: is_trusted(peer, trusted),
            address: value(&peer.to_string()),
            port: HeaderValue::from(local.port()),
            forwarded: RefCell::default(),
        }
    }

    /// Who the client is: behind trusted proxies the last address that none of them has.
    pub fn client(&self, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
        if !self.is_trusted {
            return self.peer;
        }
        let mut client = self.peer;
        let hops = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
        let hops = hops
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','));
        for hop in hops {
            match parse_hop(hop.trim()) {
                Some(address) => client = address,
                None => break,
            }
            if !is_trusted(client, trusted) {
                break;
            }
        }
        client
    }

    /// How the client came, as far as a trusted proxy tells.
    pub fn scheme(&self, headers: &HeaderMap) -> &'static str {
        let told = headers.get(X_FORWARDED_PROTO).filter(|_| self.is_trusted);
        match told.is_some_and(|told| told.as_bytes().eq_ignore_ascii_case(b"https")) {
            true => "https",
            false => "http",
        }
    }

    /// Writes this proxy's fields; what the client says in them stays only if it is trusted. The host stands in the
    /// head already, and what the client nominated by `Connection` has been removed.
    pub fn write(&self, headers: &mut HeaderMap) {
        remove_claims(headers, self.is_trusted);
        // HTTP/1.0 does without: then nothing is said of it.
        let host = headers.get(header::HOST).cloned();
        if self.is_trusted {
            self.write_behind_proxy(headers, host);
        } else {
            headers.insert(header::FORWARDED, self.forwarded(host.as_ref()));
            headers.insert(X_FORWARDED_FOR, self.address.clone());
            headers.insert(X_FORWARDED_PROTO, HTTP);
            match host {
                Some(host) => drop(headers.insert(X_FORWARDED_HOST, host)),
                None => drop(headers.remove(X_FORWARDED_HOST)),
            }
            headers.insert(X_FORWARDED_PORT, self.port.clone());
        }
        write_ids(headers);
    }

    fn write_behind_proxy(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        append(headers, &X_FORWARDED_FOR, self.address.clone());
        // A proxy that speaks one of the two says nothing wrong by the other.
        if headers.contains_key(header::FORWARDED) {
            append(headers, &header::FORWARDED, self.forwarded(host.as_ref()));
        }
        headers.entry(X_FORWARDED_PROTO).or_insert(HTTP);
        if let Some(host) = host {
            headers.entry(X_FORWARDED_HOST).or_insert(host);
        }
        headers.entry(X_FORWARDED_PORT).or_insert_with(|| self.port.clone());
    }

    fn forwarded(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let mut last = self.forwarded.borrow_mut();
        if let Some((for_host, forwarded)) = &*last
            && for_host.as_ref() == host
        {
            return forwarded.clone();
        }
        let node = match self.peer {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        // A host holds no quotation mark and no backslash: the head's check has seen to it.
        let host_name = host.and_then(|host| host.to_str().ok());
        let forwarded = match host_name {
            Some(name) => value(&format!("for={node};host=\"{name}\";proto=http")),
            None => value(&format!("for={node};proto=http")),
        };
        *last = Some((host.cloned(), forwarded.clone()));
        forwarded
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// `1.2.3.4`, `::1`, and both with a port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>();
    let address = address.or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    Some(address.ok()?.to_canonical())
}

/// Takes out what only a proxy may say: from a trusted one merely other spellings of it, and what is this one's alone; from
/// anybody else also what this proxy does not write itself, such as `X-Forwarded-User`, in which an upstream would believe.
fn remove_claims(headers: &mut HeaderMap, is_trusted: bool) {
    let is_kept = |name: &HeaderName| is_trusted || [X_REQUEST_ID, TRACEPARENT, TRACESTATE].contains(name);
    let is_claim = |name: &&HeaderName| {
        let text = name.as_str();
        is_ours(text) && (text.contains('_') || text.starts_with("x-vulcan-") || !is_kept(name))
    };
    while let Some(name) = headers.keys().find(is_claim).cloned() {
        headers.remove(name);
    }
}

/// Takes out whatever speaks in a proxy's name.
pub fn remove_ours(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_ours(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// All values become one, with this one at its end.
fn append(headers: &mut HeaderMap, name: &HeaderName, last: HeaderValue) {
    let mut list = BytesMut::new();
    for value in headers.get_all(name) {
        list.put_slice(value.as_bytes());
        list.put_slice(b", ");
    }
    list.put_slice(last.as_bytes());
    headers.insert(name, HeaderValue::from_maybe_shared(list.freeze()).unwrap_or(last));
}

/// Keeps the request's identity, or makes one: a random number that both fields share.
fn write_ids(headers: &mut HeaderMap) {
    let has_id = keep_only_if(headers, &X_REQUEST_ID, is_request_id);
    let has_trace = keep_only_if(headers, &TRACEPARENT, is_traceparent);
    if has_id && has_trace {
        return;
    }
    let (id, traceparent) = make_ids();
    if !has_id {
        headers.insert(X_REQUEST_ID, id);
    }
    if !has_trace {
        headers.remove(TRACESTATE);
        headers.insert(TRACEPARENT, traceparent);
    }
}

fn keep_only_if(headers: &mut HeaderMap, name: &HeaderName, is_valid: fn(&[u8]) -> bool) -> bool {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => is_valid(only.as_bytes()),
        _ => false,
    }
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// `00-<32 hexadecimal digits>-<16>-<2>`, neither number zero, in lower case (W3C Trace Context, 3.2); versions to come
/// begin so, too, and may go on behind another dash.
fn is_traceparent(value: &[u8]) -> bool {
    let is_digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let is_number = |part: &[u8]| part.iter().all(is_digit) && part.iter().any(|b| *b != b'0');
    let (Some(version), Some(more)) = (value.get(..2), value.get(55..)) else {
        return false;
    };
    version.iter().all(is_digit)
        && version != b"ff"
        && (more.is_empty() || (version != b"00" && more[0] == b'-'))
        && value[2] == b'-'
        && is_number(&value[3..35])
        && value[35] == b'-'
        && is_number(&value[36..52])
        && value[52] == b'-'
        && value[53..55].iter().all(is_digit)
}

/// A request id, and a trace of the same number that nobody is asked to sample; one allocation for both.
fn make_ids() -> (HeaderValue, HeaderValue) {
    let mut text = [b'0'; 55];
    text[1] = b'0';
    text[2] = b'-';
    hex(roll(u64::MAX), &mut text[3..19]);
    hex(roll(u64::MAX) | 1, &mut text[19..35]);
    text[35] = b'-';
    hex(roll(u64::MAX) | 1, &mut text[36..52]);
    text[52] = b'-';
    let text = Bytes::copy_from_slice(&text);
    let none = || HeaderValue::from_static("");
    let id = HeaderValue::from_maybe_shared(text.slice(3..35)).unwrap_or_else(|_| none());
    let traceparent = HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| none());
    (id, traceparent)
}

fn hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn forwarding(peer: &str, trusted: &[IpNet]) -> Forwarding {
        Forwarding::new(peer.parse().unwrap(), "10.0.0.1:8080".parse().unwrap(), trusted)
    }

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap()]
    }

    #[track_caller]
    fn says(headers: &HeaderMap, name: &str, expected: &str) {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(values, [expected], "{name}");
    }

    #[test]
    fn a_client_is_not_believed() {
        let mut headers = headers(&[
            ("host", "example.com:81"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded_for", "6.6.6.6"),
            ("x-vulcan-auth-token", "admin"),
            ("x_vulcan_auth_token", "admin"),
            ("x-forwarded-user", "admin"),
            ("x-forwarded-method", "OPTIONS"),
            ("x-forwarded-uri", "/open"),
            ("x-forwarded-ssl", "on"),
            ("x-original-url", "/open"),
            ("x-real-ip", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x_other", "stays"),
        ]);
        let forwarding = forwarding("1.2.3.4:5", &trusted());
        assert_eq!(forwarding.client(&headers, &trusted()).to_string(), "1.2.3.4");
        assert_eq!(forwarding.scheme(&headers), "http");
        forwarding.write(&mut headers);
        says(&headers, "x-forwarded-for", "1.2.3.4");
        says(&headers, "x-forwarded-proto", "http");
        says(&headers, "x-forwarded-host", "example.com:81");
        says(&headers, "x-forwarded-port", "8080");
        says(&headers, "forwarded", "for=1.2.3.4;host=\"example.com:81\";proto=http");
        says(&headers, "x_other", "stays");
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let written = [
            "forwarded",
            "host",
            "traceparent",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-request-id",
            "x_other",
        ];
        assert_eq!(names, written);
    }

    #[test]
    fn a_trusted_proxy_is_added_to() {
        let mut headers = headers(&[
            ("host", "example.com"),
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "ann"),
            ("x_forwarded_user", "eve"),
            ("x-real-ip", "1.2.3.4"),
        ]);
        let forwarding = forwarding("10.1.1.1:5", &trusted());
        assert_eq!(forwarding.scheme(&headers), "https");
        assert_eq!(forwarding.client(&headers, &trusted()).to_string(), "1.2.3.4");
        forwarding.write(&mut headers);
        says(&headers, "x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.2.2.2, 10.1.1.1");
        says(&headers, "x-forwarded-proto", "https");
        says(&headers, "x-forwarded-host", "example.com");
        says(&headers, "x-forwarded-user", "ann");
        says(&headers, "x-real-ip", "1.2.3.4");
        assert!(!headers.contains_key("x_forwarded_user"));
        assert!(!headers.contains_key("forwarded"));
    }

    #[test]
    fn nothing_is_said_of_a_host_that_is_not_there() {
        for (trusted, fields) in [
            (Vec::new(), vec![("x-forwarded-host", "forged")]),
            (trusted(), vec![("forwarded", "for=9.9.9.9")]),
        ] {
            let mut headers = headers(&fields);
            forwarding("10.0.0.1:9", &trusted).write(&mut headers);
            assert!(!headers.contains_key("x-forwarded-host"));
            let forwarded = headers["forwarded"].to_str().unwrap();
            assert!(forwarded.ends_with("for=10.0.0.1;proto=http"), "{forwarded}");
        }
    }

    #[test]
    fn ipv6_clients_are_named_as_each_field_wants_it() {
        let mut headers = headers(&[("host", "a")]);
        forwarding("[2001:db8::1]:5", &[]).write(&mut headers);
        says(&headers, "x-forwarded-for", "2001:db8::1");
        says(&headers, "forwarded", "for=\"[2001:db8::1]\";host=\"a\";proto=http");
        let mapped = forwarding("[::ffff:10.1.1.1]:5", &trusted());
        assert!(mapped.is_trusted);
    }

    #[test]
    fn a_trace_is_one_of_its_version_or_of_one_to_come() {
        const NOW: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let with = |from: &str, to: &str| NOW.replacen(from, to, 1);
        for valid in [
            NOW.to_owned(),
            with("00", "cc"),
            with("00", "cc") + "-more",
            with("-01", "-ff"),
        ] {
            assert!(is_traceparent(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            String::new(),
            NOW[..54].to_owned(),
            NOW.to_owned() + "-more",
            with("00", "cc") + "more",
            with("00", "ff"),
            with("00", "0x"),
            with("-01", "-0A"),
            with("0af", "0AF"),
            with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            with("b7ad6b7169203331", &"0".repeat(16)),
            with("c-b", "c_b"),
            "ä".repeat(30),
        ] {
            assert!(!is_traceparent(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn identities_are_kept_or_made() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut kept = headers(&[("x-request-id", "abc-1"), ("traceparent", trace), ("tracestate", "a=b")]);
        write_ids(&mut kept);
        says(&kept, "x-request-id", "abc-1");
        says(&kept, "traceparent", trace);
        says(&kept, "tracestate", "a=b");

        let mut made = headers(&[
            ("x-request-id", "one"),
            ("x-request-id", "two"),
            ("traceparent", "00-0-0-0"),
            ("tracestate", "a=b"),
        ]);
        write_ids(&mut made);
        let traceparent = made["traceparent"].as_bytes().to_vec();
        assert!(is_traceparent(&traceparent));
        assert_eq!(made.get_all("x-request-id").iter().count(), 1);
        assert_eq!(made["x-request-id"].as_bytes(), &traceparent[3..35]);
        assert!(!made.contains_key("tracestate"));
        assert_ne!(make_ids().0, make_ids().0);
    }
}

//! Host names of requests and the patterns that match them.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// No host that is longer can be matched by name (RFC 1035, 2.3.4; brackets of an IPv6 literal included).
pub const HOST_BYTES_MAX: usize = 253;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One host: lower case, no port, no final dot.
    Exact(Arc<str>),
    /// `*.example.org`, held as `example.org`: any number of labels before it, not the apex.
    Wildcard(Arc<str>),
    /// `*`
    Any,
}

impl HostPattern {
    /// Whether it matches a host in canonical form.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => host == &**name,
            HostPattern::Wildcard(suffix) => host
                .strip_suffix(&**suffix)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            HostPattern::Any => true,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

impl TryFrom<&str> for HostPattern {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<HostPattern, &'static str> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Some(literal) = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = literal.parse().map_err(|_| "not an IPv6 address in brackets")?;
            return Ok(HostPattern::Exact(format!("[{address}]").into()));
        }
        let (wildcard, name) = match lower.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, &*lower),
        };
        if !is_dns_name(name) {
            return Err("a host is a name, \"*.\" and a name, or \"*\"; without scheme, port or path");
        }
        let name: Arc<str> = name.into();
        Ok(if wildcard {
            HostPattern::Wildcard(name)
        } else {
            HostPattern::Exact(name)
        })
    }
}

/// Lower-case labels of letters, digits, `-` and `_` (RFC 1123, 2.1; the underscore is seen in the wild).
pub(super) fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

/// The form in which hosts are compared: without port and one final dot, in lower case. Allocates only for upper case.
pub fn canonical(raw: &str) -> Cow<'_, str> {
    let host = without_port(raw);
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

fn without_port(raw: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    match raw.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (host.ends_with(']') || !host.contains(':')) => host,
        _ => raw,
    }
}

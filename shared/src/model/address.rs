//! Where an upstream listens.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::host::is_dns_name;

/// `host:port` or `[v6]:port` in one canonical form, so that equal text is an equal address: names in lower case without
/// a final dot, IP literals as the standard library prints them, an IPv4-mapped literal as the IPv4 address it reaches.
#[derive(Clone, Debug)]
pub struct Address {
    text: Arc<str>,
    ip: Option<IpAddr>,
    port: u16,
}

impl Address {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Keeps one copy of a text that is there already: an upstream's id mostly is its address.
    pub(super) fn share(mut self, text: Arc<str>) -> Address {
        if text == self.text {
            self.text = text;
        }
        self
    }

    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Without the brackets of an IPv6 literal.
    pub fn host(&self) -> &str {
        let host = self.text.rsplit_once(':').map_or(&*self.text, |(host, _)| host);
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// None for a DNS name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// None for a DNS name, which has to be resolved.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl TryFrom<&str> for Address {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<Address, &'static str> {
        let (host, port) = text.rsplit_once(':').ok_or("an address is host:port or [v6]:port")?;
        let port = parse_port(port).ok_or("a port is a number from 1 to 65535")?;
        let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(literal) => {
                let address = literal.parse().map_err(|_| "not an IPv6 address in brackets")?;
                Some(IpAddr::V6(address).to_canonical())
            }
            None => host.parse().ok().map(IpAddr::V4),
        };
        let text = match ip {
            Some(ip) => SocketAddr::new(ip, port).to_string(),
            None => format!("{}:{port}", canonical_name(host)?),
        };
        Ok(Address {
            text: text.into(),
            ip,
            port,
        })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

fn canonical_name(host: &str) -> Result<String, &'static str> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    // A name that ends in a number would be taken for an IPv4 address by resolvers (`127.1`).
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    match is_dns_name(&name) && !numeric {
        true => Ok(name),
        false => Err("the host is neither a DNS name nor an IP address (IPv6 in brackets)"),
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.text == other.text
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Address) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Address) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for Address {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

//! Where a control plane listens.

use std::fmt;
use std::sync::Arc;

use http::Uri;

/// `http://host:port` or `https://host:port`, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    is_tls: bool,
    authority: Arc<str>,
    host: Arc<str>,
    port: u16,
}

/// Where the admin port is unless something else is said.
const PORT: u16 = 8182;

/// What was given, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    given: String,
    why: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "control plane {:?}: {}", self.given, self.why)
    }
}

impl std::error::Error for AddressError {}

impl Address {
    pub fn parse(given: &str) -> Result<Address, AddressError> {
        let wrong = |why| AddressError {
            given: given.to_owned(),
            why,
        };
        let uri: Uri = given.parse().map_err(|_| wrong("no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("http://host:port or https://host:port is expected")),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a URL without a path is expected"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a name and a password have no place here; there is a token"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Address {
            is_tls,
            authority: authority.as_str().into(),
            host: host.into(),
            port: authority.port_u16().unwrap_or(PORT),
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let address = Address::parse("http://[::1]:9000/").unwrap();
        assert_eq!((address.host(), address.port()), ("::1", 9000));
        assert_eq!(address.url("/v1/stream"), "http://[::1]:9000/v1/stream");
        assert!(!address.is_tls());
        let address = Address::parse("https://cp.internal:9000").unwrap();
        assert_eq!(
            (address.is_tls(), address.url("/")),
            (true, "https://cp.internal:9000/".to_owned())
        );
        assert_eq!(Address::parse("http://cp.internal").unwrap().port(), PORT);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for given in [
            "",
            "cp:8182",
            "ftp://cp:8182",
            "http://cp:8182/v1",
            "http://user@cp:8182",
        ] {
            assert!(Address::parse(given).is_err(), "{given:?}");
        }
    }
}

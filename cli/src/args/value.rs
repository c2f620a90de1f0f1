//! Values of flags that have a form of their own.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use shared::model::{Hold, format_duration, parse_duration};

pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// A network, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is no network; write it as 10.0.0.0/8 or 2001:db8::/32"))
}

pub fn lease(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_secs(3600))
}

pub fn drain(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO, Duration::from_secs(24 * 3600))
}

pub fn forget(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_secs(365 * 24 * 3600))
}

/// How long a write may be waited for.
pub fn wait(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO, Duration::from_secs(600))
}

/// How long a service may be held.
pub fn hold(text: &str) -> Result<Duration, String> {
    within(text, Hold::LEAST, Hold::MOST)
}

/// A revision that an object must have, as the entity tag that says so.
pub fn tag(text: &str) -> Result<String, String> {
    match text.parse::<u64>() {
        Ok(revision) => Ok(format!("\"{revision}\"")),
        Err(_) if text == "*" => Ok(text.to_owned()),
        Err(_) => Err("must be the number of a revision, or `*`".to_owned()),
    }
}

fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration < least || duration > most {
        return Err(format!(
            "must be between {} and {}",
            format_duration(least),
            format_duration(most)
        ));
    }
    Ok(duration)
}

/// Names a proxy in the fleet, in URLs and in answers.
pub fn proxy_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err("must be 1 to 128 letters, digits, `.`, `_` or `-`".to_owned());
    }
    Ok(text.to_owned())
}

/// A name that mail servers may have.
pub fn mail_hostname(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.len() > 253
        || !text
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(fits))
    {
        return Err("must be a domain name, as mail.example.com".to_owned());
    }
    Ok(text.to_owned())
}

pub fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a control plane answers: `http://host[:port]` or `https://host[:port]`, nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Host and port as they were written.
    pub authority: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let wrong = || format!("`{text}` is no URL of a control plane; write it as http://127.0.0.1:8182");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(authority), "" | "/", None) = (uri.authority(), uri.path(), uri.query()) else {
            return Err(wrong());
        };
        let (is_tls, default_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(wrong()),
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(authority.host()) => default_port,
            None => return Err(wrong()),
        };
        Ok(Url {
            is_tls,
            host,
            port,
            authority: authority.as_str().to_owned(),
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_to_the_bounds_of_its_flag() {
        assert_eq!(lease("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(lease("999ms"), Err("must be between 1s and 1h".to_owned()));
        assert!(lease("10").is_err());
        assert_eq!(drain("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_revision_becomes_an_entity_tag() {
        assert_eq!(tag("42"), Ok("\"42\"".to_owned()));
        assert_eq!(tag("*"), Ok("*".to_owned()));
        assert!(tag("\"42\"").is_err() && tag("-1").is_err());
    }

    #[test]
    fn a_url_is_scheme_host_and_port() {
        let url: Url = "http://[::1]:8182/".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 8182));
        assert_eq!(url.to_string(), "http://[::1]:8182");
        let url: Url = "http://control.example".parse().unwrap();
        assert_eq!((url.host.as_str(), url.port), ("control.example", 80));
        let url: Url = "https://control.example".parse().unwrap();
        assert_eq!(
            (url.is_tls, url.port, url.to_string().as_str()),
            (true, 443, "https://control.example")
        );
        for wrong in [
            "",
            "control:8182",
            "ftp://control",
            "http://c/v1",
            "http://c?x=1",
            "http://u@c",
            "http://c:0x1",
        ] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_mail_hostname_is_a_domain_name() {
        for right in ["mail.example.com", "mx_1", "localhost"] {
            assert_eq!(mail_hostname(right), Ok(right.to_owned()));
        }
        for wrong in ["", ".", "mail.", "a b", "[192.0.2.1]", "mail@example", "a\r\nb"] {
            assert!(mail_hostname(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn one_address_is_a_network() {
        assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(network("10.0.0.0/33").is_err());
    }
}

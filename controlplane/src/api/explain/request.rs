//! The request that is asked about, as its parameters describe it.

use net::problem::Problem;

use crate::api::query::{Query, invalid};

pub enum Said {
    Web(Web),
    Mail(Mail),
}

pub struct Web {
    pub method: String,
    /// Empty where the URL names none.
    pub host: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// What the authorizer would say.
    pub auth_token: String,
    pub length: Option<u64>,
}

pub struct Mail {
    pub recipient: String,
    pub auth_token: String,
    pub length: Option<u64>,
}

impl Said {
    pub fn of(query: &Query) -> Result<Said, Problem> {
        let auth_token = query.value("auth_token").unwrap_or_default().to_owned();
        let length = query.number("length")?;
        match (query.value("url"), query.value("recipient")) {
            (Some(_), Some(_)) => Err(invalid("recipient", "url and recipient exclude each other")),
            (None, None) => Err(invalid("url", "a url is required, or a recipient")),
            (Some(url), None) => web(query, url, auth_token, length),
            (None, Some(recipient)) => {
                if let Some(of_web) = ["method", "header"]
                    .into_iter()
                    .find(|name| query.value(name).is_some())
                {
                    return Err(invalid(of_web, "a recipient has none"));
                }
                Ok(Said::Mail(Mail {
                    recipient: recipient.to_owned(),
                    auth_token,
                    length,
                }))
            }
        }
    }
}

fn web(query: &Query, url: &str, auth_token: String, length: Option<u64>) -> Result<Said, Problem> {
    let method = query.value("method").unwrap_or("GET");
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid("method", "a method is one word"));
    }
    let (mut host, path) = parts(url).ok_or_else(|| invalid("url", "http://HOST/PATH is expected, or a part of it"))?;
    let mut headers = Vec::new();
    for header in query.values("header") {
        let header = header.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        let Some((name, value)) = header.filter(|(name, _)| is_name(name)) else {
            return Err(invalid("header", "`name: value` is expected"));
        };
        if name.eq_ignore_ascii_case("host") {
            value.clone_into(&mut host);
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(Said::Web(Web {
        method: method.to_owned(),
        host,
        path,
        headers,
        auth_token,
        length,
    }))
}

/// Host and path of `http://host/path?query`, `host/path` or `/path`.
fn parts(url: &str) -> Option<(String, String)> {
    let scheme = url.split_once("://");
    let rest = match scheme {
        Some((scheme, rest)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => rest,
        Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => return None,
        _ => url,
    };
    let (host, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if host.contains('@') || host.contains(char::is_whitespace) {
        return None;
    }
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let path = if path.is_empty() { "/" } else { path };
    Some((host.to_owned(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_be_a_part_of_one() {
        let of = |url: &str| parts(url).map(|(host, path)| format!("{host} {path}"));
        for (url, expected) in [
            ("http://a.test/x?y=/z", "a.test /x"),
            ("HTTPS://a.test:8443", "a.test:8443 /"),
            ("a.test/x", "a.test /x"),
            ("[::1]:80/x", "[::1]:80 /x"),
            ("/x?u=http://b.test", " /x"),
            ("", " /"),
        ] {
            assert_eq!(of(url).as_deref(), Some(expected), "{url}");
        }
        for url in ["ftp://a.test/", "user@a.test/", "a b/"] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}

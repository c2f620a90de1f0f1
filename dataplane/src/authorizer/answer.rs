//! What an authorizer's answer means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};
use serde_json::Value;
use shared::model::{Address, Authorizer, ServiceName, Style, TokenHash, Upstreams, json};

use crate::limiter::Accounts;

pub const X_VULCAN_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-vulcan-auth-token");

const TOKEN_BYTES_MAX: usize = 8 * 1024;
const ADDRESSES_MAX: usize = 256;

#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is never moved: a box would be one place more to fetch for every request"
)]
pub enum Answer {
    Granted(Grant),
    Refused(Arc<Reply>),
}

/// Leave, and what goes with it.
#[derive(Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Grant {
    /// What limits count its requests under. First, and so beside the counter of those who have the answer in hand: one
    /// place in memory less that has to be fetched for a request.
    pub accounts: Accounts,
    /// None: the authorizer named none, or failed and lets everybody pass.
    pub auth_token: Option<HeaderValue>,
    /// Where the request goes instead of to its service's upstreams.
    pub target: Option<Target>,
    pub limit_key: Option<Arc<str>>,
    /// For the upstream, in the place of what the client sent under these names.
    pub copied: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Service(ServiceName),
    /// Of these whichever are registered.
    Registered(Vec<Address>),
    /// Of these whichever are registered, and the others where none is.
    Any(Vec<Address>),
}

/// A refusal in the authorizer's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// An answer, and for whom else it is good.
pub struct Understood {
    pub answer: Answer,
    pub token: TokenHash,
    /// Zero: not remembered.
    pub ttl: Duration,
    /// It is for this client alone.
    pub is_private: bool,
}

/// The answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Senseless(pub &'static str);

/// 2xx grants. 4xx refuses, but for those that speak of the moment (408, 425, 429). 3xx goes to the client where the
/// request was forwarded, but for 304, which answers a question that was not asked. Everything else is a failure.
pub fn understand(authorizer: &Authorizer, head: &response::Parts, body: Bytes) -> Result<Understood, Senseless> {
    let is_forward = authorizer.style == Style::Forward;
    let cache = &authorizer.cache;
    match head.status.as_u16() {
        200..=299 => {
            let grant = match is_forward {
                true => forwarded_grant(authorizer, &head.headers)?,
                false => told_grant(authorizer.upstreams, &body)?,
            };
            let token = grant
                .auth_token
                .as_ref()
                .and_then(|token| std::str::from_utf8(token.as_bytes()).ok());
            Ok(Understood {
                token: TokenHash::of(token.unwrap_or_default()),
                answer: Answer::Granted(grant),
                ttl: shortened(cache.ttl, &head.headers),
                is_private: false,
            })
        }
        408 | 425 | 429 => Err(Senseless("it is not able to answer now")),
        300..=303 | 305..=399 if is_forward => Ok(refusal(head, body, Duration::ZERO)),
        400..=499 => {
            let mut refusal = refusal(head, body, shortened(cache.negative_ttl, &head.headers));
            if let (Answer::Refused(reply), false) = (&mut refusal.answer, is_forward) {
                challenge(reply, &authorizer.realm);
            }
            Ok(refusal)
        }
        _ => Err(Senseless("its status is none of an answer")),
    }
}

/// What is set for one client is not said to another.
fn refusal(head: &response::Parts, body: Bytes, ttl: Duration) -> Understood {
    let relayed = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::WWW_AUTHENTICATE,
        header::SET_COOKIE,
        header::LOCATION,
    ];
    let values = relayed.iter().flat_map(|name| {
        let values = head.headers.get_all(name).iter();
        values.map(move |value| (name.clone(), value.clone()))
    });
    let is_private = head.status.is_redirection() || head.headers.contains_key(header::SET_COOKIE);
    Understood {
        answer: Answer::Refused(Arc::new(Reply {
            status: head.status,
            headers: values.collect(),
            body,
        })),
        token: TokenHash::of(""),
        ttl: if is_private { Duration::ZERO } else { ttl },
        is_private,
    }
}

/// A 401 says how to do better (RFC 9110, 15.5.2).
fn challenge(reply: &mut Arc<Reply>, realm: &str) {
    let is_said = reply.headers.iter().any(|(name, _)| *name == header::WWW_AUTHENTICATE);
    if reply.status != StatusCode::UNAUTHORIZED || is_said {
        return;
    }
    if let Some(reply) = Arc::get_mut(reply) {
        reply.headers.push((header::WWW_AUTHENTICATE, basic_challenge(realm)));
    }
}

/// RFC 7617, 2. A realm holds nothing that would have to be escaped.
pub fn basic_challenge(realm: &str) -> HeaderValue {
    let text = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Basic"))
}

fn told_grant(upstreams: Upstreams, body: &[u8]) -> Result<Grant, Senseless> {
    let text = std::str::from_utf8(body).map_err(|_| Senseless("it is not UTF-8"))?;
    let Ok(Value::Object(members)) = json::parse(text) else {
        return Err(Senseless("it is no JSON object"));
    };
    let member = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Senseless("a member of it is no string")),
    };
    let token = member("auth_token")?.ok_or(Senseless("it has no auth_token"))?;
    Ok(Grant {
        auth_token: Some(field_value(token.as_bytes())?),
        target: match member("upstream")? {
            Some(text) => target(upstreams, text)?,
            None => None,
        },
        limit_key: member("limit_key")?.map(Into::into),
        ..Grant::default()
    })
}

fn forwarded_grant(authorizer: &Authorizer, headers: &HeaderMap) -> Result<Grant, Senseless> {
    let names = authorizer.copy_headers.iter();
    let names = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let copied = names.flat_map(|name| {
        let values = headers.get_all(&name).iter().cloned().collect::<Vec<_>>();
        values.into_iter().map(move |value| (name.clone(), value))
    });
    let token = headers.get(X_VULCAN_AUTH_TOKEN);
    Ok(Grant {
        auth_token: token.map(|token| field_value(token.as_bytes())).transpose()?,
        copied: copied.collect(),
        ..Grant::default()
    })
}

/// One that receivers would trim, or not take at all, would arrive as another.
fn field_value(token: &[u8]) -> Result<HeaderValue, Senseless> {
    let is_kept = token.trim_ascii() == token && token.len() <= TOKEN_BYTES_MAX;
    let value = HeaderValue::from_bytes(token).ok().filter(|_| is_kept);
    value.ok_or(Senseless("its auth_token is no value of a header field"))
}

/// An address holds a colon, and the name of a service none.
fn target(upstreams: Upstreams, text: &str) -> Result<Option<Target>, Senseless> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.contains(':') {
        let name = ServiceName::try_from(text).map_err(|_| Senseless("its upstream is no service"))?;
        return Ok(Some(Target::Service(name)));
    }
    let addresses = text.split(',').map(|address| Address::try_from(address.trim()));
    let addresses: Result<Vec<Address>, _> = addresses.take(ADDRESSES_MAX).collect();
    let addresses = addresses.map_err(|_| Senseless("its upstream is no list of addresses"))?;
    Ok(Some(match upstreams {
        Upstreams::Registered => Target::Registered(addresses),
        Upstreams::Any => Target::Any(addresses),
    }))
}

/// `Cache-Control` shortens, and never lengthens (RFC 9111, 5.2.2).
fn shortened(ttl: Duration, headers: &HeaderMap) -> Duration {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(str::trim);
    directives.fold(ttl, |ttl, directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => Duration::ZERO,
            "max-age" => match value.trim_matches('"').parse() {
                Ok(seconds) => ttl.min(Duration::from_secs(seconds)),
                Err(_) => Duration::ZERO,
            },
            _ => ttl,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorizer(json: &str) -> Authorizer {
        Authorizer::parse("main", json).unwrap()
    }

    fn head(status: u16, fields: &[(&'static str, &'static str)]) -> response::Parts {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            head.headers.append(*name, HeaderValue::from_static(value));
        }
        head
    }

    fn asked(
        json: &str,
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> Option<Understood> {
        understand(
            &authorizer(json),
            &head(status, fields),
            Bytes::from_static(body.as_bytes()),
        )
        .ok()
    }

    const JSON: &str = r#"{"service":"auth"}"#;
    const FORWARD: &str = r#"{"service":"auth","style":"forward","copy_headers":["x-user"]}"#;

    fn grant(body: &'static str) -> Option<Grant> {
        match asked(JSON, 200, &[], body)?.answer {
            Answer::Granted(grant) => Some(grant),
            Answer::Refused(_) => None,
        }
    }

    #[test]
    fn the_protocol_of_old() {
        let plain = grant(r#"{"auth_token":"user@example.com","more":1}"#).unwrap();
        assert_eq!(
            (plain.auth_token.unwrap(), plain.target),
            ("user@example.com".parse().unwrap(), None)
        );
        let listed = grant(r#"{"auth_token":"a","upstream":"10.0.0.1:3001, B.internal:80"}"#).unwrap();
        let addresses = ["10.0.0.1:3001", "b.internal:80"].map(|text| Address::try_from(text).unwrap());
        assert_eq!(listed.target, Some(Target::Registered(addresses.to_vec())));
        let named = grant(r#"{"auth_token":"","upstream":"web","limit_key":"k"}"#).unwrap();
        assert_eq!(named.target, Some(Target::Service("web".try_into().unwrap())));
        assert_eq!(named.limit_key.as_deref(), Some("k"));
        assert_eq!(grant(r#"{"auth_token":"a","upstream":null}"#).unwrap().target, None);
        for senseless in [
            "",
            "ok",
            "[]",
            "{}",
            r#"{"auth_token":7}"#,
            r#"{"auth_token":"a","auth_token":"b"}"#,
            r#"{"auth_token":"a\nb"}"#,
            r#"{"auth_token":" a"}"#,
            r#"{"auth_token":"a","upstream":"No Service"}"#,
            r#"{"auth_token":"a","upstream":"10.0.0.1:0"}"#,
            r#"{"auth_token":"a","upstream":["10.0.0.1:80"]}"#,
        ] {
            assert!(grant(senseless).is_none(), "{senseless}");
        }
    }

    #[test]
    fn which_answers_refuse_and_which_fail() {
        for status in [400, 401, 403, 404, 451] {
            let refused = asked(JSON, status, &[], "no").unwrap();
            assert!(matches!(refused.answer, Answer::Refused(_)), "{status}");
            assert_eq!(refused.ttl, Duration::from_secs(10));
        }
        for status in [302, 408, 425, 429, 500, 503] {
            assert!(asked(JSON, status, &[], "{}").is_none(), "{status}");
        }
        assert!(asked(FORWARD, 429, &[], "").is_none());
        assert!(asked(FORWARD, 304, &[], "").is_none());
        let redirect = asked(FORWARD, 302, &[("location", "/login"), ("server", "x")], "").unwrap();
        assert_eq!((redirect.ttl, redirect.is_private), (Duration::ZERO, true));
        let Answer::Refused(reply) = redirect.answer else {
            panic!()
        };
        assert_eq!(reply.headers, [(header::LOCATION, HeaderValue::from_static("/login"))]);
        let cookie = asked(FORWARD, 403, &[("set-cookie", "a=b")], "").unwrap();
        assert!(cookie.is_private && cookie.ttl.is_zero());
    }

    #[test]
    fn a_401_says_the_realm_unless_it_says_something_else() {
        let said = |fields| match asked(JSON, 401, fields, "").unwrap().answer {
            Answer::Refused(reply) => reply.headers.clone(),
            Answer::Granted(_) => panic!(),
        };
        assert_eq!(said(&[])[0].1, "Basic realm=\"vulcan\", charset=\"UTF-8\"");
        assert_eq!(said(&[("www-authenticate", "Bearer")])[0].1, "Bearer");
    }

    #[test]
    fn named_fields_are_copied() {
        let fields = [("x-user", "bob"), ("x-other", "1"), ("x-vulcan-auth-token", "t")];
        let Answer::Granted(grant) = asked(FORWARD, 204, &fields, "").unwrap().answer else {
            panic!()
        };
        assert_eq!(grant.copied, [("x-user".parse().unwrap(), "bob".parse().unwrap())]);
        assert_eq!(grant.auth_token.unwrap(), "t");
    }

    #[test]
    fn cache_control_shortens() {
        let ttl = |value: &'static str| {
            asked(JSON, 200, &[("cache-control", value)], r#"{"auth_token":"a"}"#)
                .unwrap()
                .ttl
                .as_secs()
        };
        assert_eq!(
            [ttl("private, max-age=5"), ttl("max-age=3600"), ttl("Max-Age=\"7\"")],
            [5, 60, 7]
        );
        assert_eq!(
            [ttl("no-store"), ttl("no-cache, max-age=9"), ttl("max-age=x")],
            [0, 0, 0]
        );
    }
}

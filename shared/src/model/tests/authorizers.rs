//! Authorizers: defaults, the canonical body, refusals.

use super::{fields, json};
use crate::model::InvalidKind::{self, Invalid as Wrong, Malformed};
use crate::model::{Authorizer, Vary};

fn authorizer(text: &str) -> Authorizer {
    Authorizer::parse("main", text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"))
}

#[test]
fn it_shows_its_defaults_and_stores_none() {
    let parsed = authorizer(r#"{"service":"auth"}"#);
    assert_eq!(
        parsed.document(),
        json(
            r#"{
            "service": "auth", "path": "/authorize", "style": "json", "realm": "vulcan", "timeout": "500ms",
            "cache": {"ttl": "60s", "negative_ttl": "10s", "stale": "0s",
                      "vary": ["username", "password", "protocol", "method", "uri", "length", "ip"]},
            "on_failure": "deny", "upstreams": "registered", "copy_headers": []}"#
        )
    );
    assert_eq!(parsed.body().as_str(), r#"{"service":"auth"}"#);
    assert_eq!(authorizer(&parsed.document().to_string()), parsed);
}

#[test]
fn everything_that_can_be_said_is_kept() {
    let parsed = authorizer(
        r#"{"service": "auth", "path": "/check?for=web", "style": "forward", "realm": "My Realm", "timeout": "2000ms",
            "cache": {"ttl": "0s", "negative_ttl": "1m", "stale": "1h", "vary": ["header:X-Key", "ip", "ip"]},
            "on_failure": "allow", "upstreams": "any", "copy_headers": ["X-User"]}"#,
    );
    assert_eq!(*parsed.cache.vary, [Vary::Ip, Vary::Header("x-key".into())]);
    assert_eq!(
        parsed.body().as_str(),
        concat!(
            r#"{"cache":{"negative_ttl":"60s","stale":"1h","ttl":"0s","vary":["ip","header:x-key"]},"#,
            r#""copy_headers":["x-user"],"on_failure":"allow","path":"/check?for=web","realm":"My Realm","#,
            r#""service":"auth","style":"forward","timeout":"2s","upstreams":"any"}"#
        )
    );
    for again in [parsed.body().as_str(), &parsed.document().to_string()] {
        assert_eq!(authorizer(again), parsed, "{again}");
    }
}

#[test]
fn what_answers_depend_on_follows_the_style() {
    let forward = authorizer(r#"{"service":"auth","style":"forward"}"#);
    assert_eq!(
        forward.document()["cache"]["vary"],
        json(r#"["method", "uri", "host", "credentials"]"#)
    );
    assert_eq!(forward.body().as_str(), r#"{"service":"auth","style":"forward"}"#);
    let patch = json(r#"{"style": "query"}"#);
    let patched = Authorizer::patched("main", json(forward.body().as_str()), &patch).unwrap();
    assert_eq!(patched.document()["cache"]["vary"][0], "username");
}

#[test]
fn refusals_name_the_field() {
    let cases: [(&str, InvalidKind, &str); 21] = [
        ("{", Malformed, ""),
        ("{}", Wrong, "service"),
        (r#"{"service":"A"}"#, Wrong, "service"),
        (r#"{"service":"a","servce":1}"#, Wrong, "servce"),
        (r#"{"service":"a","path":"check"}"#, Wrong, "path"),
        (r#"{"service":"a","path":"/a b"}"#, Wrong, "path"),
        (r#"{"service":"a","path":"/a#b"}"#, Wrong, "path"),
        (r#"{"service":"a","path":"/check?for=%zz"}"#, Wrong, "path"),
        (r#"{"service":"a","style":"grpc"}"#, Wrong, "style"),
        (r#"{"service":"a","realm":"a\"b"}"#, Wrong, "realm"),
        (r#"{"service":"a","realm":""}"#, Wrong, "realm"),
        (r#"{"service":"a","timeout":"0s"}"#, Wrong, "timeout"),
        (r#"{"service":"a","timeout":"2m"}"#, Wrong, "timeout"),
        (r#"{"service":"a","cache":{"ttl":60}}"#, Wrong, "cache.ttl"),
        (r#"{"service":"a","cache":{"vary":[]}}"#, Wrong, "cache.vary"),
        (r#"{"service":"a","cache":{"vary":["user"]}}"#, Wrong, "cache.vary[0]"),
        (r#"{"service":"a","cache":null}"#, Wrong, "cache"),
        (r#"{"service":"a","on_failure":"pass"}"#, Wrong, "on_failure"),
        (r#"{"service":"a","upstreams":"all"}"#, Wrong, "upstreams"),
        (r#"{"service":"a","copy_headers":["x-user"]}"#, Wrong, "copy_headers"),
        (
            r#"{"service":"a","style":"forward","copy_headers":["x-a","Content-Length"]}"#,
            Wrong,
            "copy_headers[1]",
        ),
    ];
    for name in [
        "Forwarded",
        "x-forwarded-for",
        "X_Forwarded_Host",
        "x-real-ip",
        "X-Request-Id",
        "X-Vulcan-Auth-Token",
        "x-vulcan-anything",
        "Transfer-Encoding",
        "proxy-authorization",
    ] {
        let text = format!(r#"{{"service":"a","style":"forward","copy_headers":["x-forwarded-user","{name}"]}}"#);
        let invalid = Authorizer::parse("main", &text).expect_err(name);
        assert_eq!(fields(&invalid), ["copy_headers[1]"], "{name}");
    }
    for (text, kind, field) in cases {
        let invalid = Authorizer::parse("main", text).expect_err(text);
        assert_eq!(
            (fields(&invalid).as_slice(), invalid.kind),
            (&[field][..], kind),
            "{text}"
        );
    }
    assert!(Authorizer::parse("Main", r#"{"service":"a"}"#).is_err());
}

#[test]
fn a_deadline_that_is_too_long_is_told_the_longest() {
    for (text, said) in [
        (r#"{"service":"a","timeout":"61s"}"#, "60s at most"),
        (r#"{"service":"a","timeout":"25h"}"#, "60s at most"),
        (r#"{"service":"a","timeout":"9000h"}"#, "60s at most"),
        (r#"{"service":"a","cache":{"ttl":"25h"}}"#, "24h at most"),
        (r#"{"service":"a","cache":{"ttl":"9000h"}}"#, "24h at most"),
    ] {
        let invalid = Authorizer::parse("main", text).unwrap_err();
        assert_eq!(invalid.errors[0].detail, said, "{text}");
    }
}

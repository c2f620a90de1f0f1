//! Every refusal names its field and says which kind it is.

use super::fields;
use crate::model::InvalidKind::{self, Invalid as Wrong, Malformed};
use crate::model::{Invalid, Service, Upstream};

fn assert_refused<T>(result: Result<T, Invalid>, what: &str, kind: InvalidKind, expected: &[&str]) {
    match result {
        Ok(_) => panic!("{what} is accepted"),
        Err(invalid) => assert_eq!(
            (fields(&invalid).as_slice(), invalid.kind),
            (expected, kind),
            "{what}: {invalid}"
        ),
    }
}

#[test]
fn services() {
    let long = format!(r#"{{"match":[{{"path_prefix":"/{}"}}]}}"#, "a".repeat(2048));
    let heavy = r#"{"match":[{"path_regex":"(a{1000}){1000}"}]}"#;
    let many = format!(r#"{{"match":[{}]}}"#, vec!["{}"; 257].join(","));
    let costly = format!(r#"{{"match":[{}]}}"#, vec![r#"{"path_regex":"/a"}"#; 33].join(","));
    for (json, kind, field) in [
        (costly.as_str(), Wrong, "match"),
        ("", Malformed, ""),
        ("{", Malformed, ""),
        (r#"{"match":[]} x"#, Malformed, ""),
        (r#"{"match":[],"match":[]}"#, Malformed, "match"),
        (
            r#"{"match":[{},{"headers":{"a":"1","a":"2"}}]}"#,
            Malformed,
            "match[1].headers.a",
        ),
        (r#"{"match":[],"x":{"y":1,"y":2}}"#, Malformed, "x.y"),
        ("[]", Wrong, ""),
        ("null", Wrong, ""),
        ("{}", Wrong, "match"),
        (r#"{"match":null}"#, Wrong, "match"),
        (r#"{"match":[],"nmae":1}"#, Wrong, "nmae"),
        (r#"{"match":[7]}"#, Wrong, "match[0]"),
        (r#"{"match":[{},{"host":["a"]}]}"#, Wrong, "match[1].host"),
        (r#"{"match":[{"hosts":"a.example"}]}"#, Wrong, "match[0].hosts"),
        (r#"{"match":[{"hosts":["a",7]}]}"#, Wrong, "match[0].hosts[1]"),
        (r#"{"match":[{"hosts":["a.example:80"]}]}"#, Wrong, "match[0].hosts[0]"),
        (r#"{"match":[{"path_prefix":7}]}"#, Wrong, "match[0].path_prefix"),
        (r#"{"match":[{"path_prefix":"v2"}]}"#, Wrong, "match[0].path_prefix"),
        (r#"{"match":[{"path_prefix":"/a?b"}]}"#, Wrong, "match[0].path_prefix"),
        (
            r#"{"match":[{"path_prefix":"/a/../b"}]}"#,
            Wrong,
            "match[0].path_prefix",
        ),
        (r#"{"match":[{"path_prefix":"/ä"}]}"#, Wrong, "match[0].path_prefix"),
        (&long, Wrong, "match[0].path_prefix"),
        (r#"{"match":[{"path_regex":"("}]}"#, Wrong, "match[0].path_regex"),
        (r#"{"match":[{"path_regex":"a)|(b"}]}"#, Wrong, "match[0].path_regex"),
        (r#"{"match":[{"path_regex":7}]}"#, Wrong, "match[0].path_regex"),
        (heavy, Wrong, "match[0].path_regex"),
        (
            r#"{"match":[{"path_regex":"/a","path_prefix":"/a"}]}"#,
            Wrong,
            "match[0].path_regex",
        ),
        (r#"{"match":[{"methods":"GET"}]}"#, Wrong, "match[0].methods"),
        (r#"{"match":[{"methods":["GET","get"]}]}"#, Wrong, "match[0].methods[1]"),
        (r#"{"match":[{"methods":["G ET"]}]}"#, Wrong, "match[0].methods[0]"),
        (r#"{"match":[{"headers":[]}]}"#, Wrong, "match[0].headers"),
        (r#"{"match":[{"headers":{"x y":"1"}}]}"#, Wrong, "match[0].headers.x y"),
        (r#"{"match":[{"headers":{"x":1}}]}"#, Wrong, "match[0].headers.x"),
        (r#"{"match":[{"headers":{"x":" 1"}}]}"#, Wrong, "match[0].headers.x"),
        (
            r#"{"match":[{"headers":{"x":"1","X":"2"}}]}"#,
            Wrong,
            "match[0].headers.x",
        ),
        (r#"{"match":[{"priority":1001}]}"#, Wrong, "match[0].priority"),
        (r#"{"match":[{"priority":-1001}]}"#, Wrong, "match[0].priority"),
        (r#"{"match":[{"priority":0.5}]}"#, Wrong, "match[0].priority"),
        (r#"{"match":[{"priority":"1"}]}"#, Wrong, "match[0].priority"),
        (&many, Wrong, "match"),
        (r#"{"match":[],"balance":"fastest"}"#, Wrong, "balance"),
        (r#"{"match":[],"balance":null}"#, Wrong, "balance"),
        (r#"{"match":[],"timeouts":{"conect":"1s"}}"#, Wrong, "timeouts.conect"),
        (r#"{"match":[],"timeouts":{"connect":1}}"#, Wrong, "timeouts.connect"),
        (r#"{"match":[],"timeouts":{"connect":"1"}}"#, Wrong, "timeouts.connect"),
        (r#"{"match":[],"timeouts":{"connect":"0s"}}"#, Wrong, "timeouts.connect"),
        (r#"{"match":[],"timeouts":{"drain":"25h"}}"#, Wrong, "timeouts.drain"),
        (r#"{"match":[],"retries":{"attempts":11}}"#, Wrong, "retries.attempts"),
        (r#"{"match":[],"retries":{"attempts":-1}}"#, Wrong, "retries.attempts"),
        (r#"{"match":[],"retries":2}"#, Wrong, "retries"),
        (r#"{"match":[],"max_body":-1}"#, Wrong, "max_body"),
        (r#"{"match":[],"max_body":"50"}"#, Wrong, "max_body"),
        (r#"{"match":[],"max_body":9007199254740992}"#, Wrong, "max_body"),
        (
            r#"{"match":[],"balance":{"consistent_hash":{"header":"x y"}}}"#,
            Wrong,
            "balance.consistent_hash.header",
        ),
        (
            r#"{"match":[],"balance":{"consistent_hash":{}}}"#,
            Wrong,
            "balance.consistent_hash.header",
        ),
        (
            r#"{"match":[],"balance":{"consistent_hash":{"header":"x","cookie":"y"}}}"#,
            Wrong,
            "balance.consistent_hash.cookie",
        ),
        (
            r#"{"match":[],"balance":{"consistent_hash":"x"}}"#,
            Wrong,
            "balance.consistent_hash",
        ),
        (r#"{"match":[],"balance":{}}"#, Wrong, "balance.consistent_hash"),
        (r#"{"match":[],"health_check":"/"}"#, Wrong, "health_check"),
        (r#"{"match":[],"health_check":{}}"#, Wrong, "health_check.path"),
        (
            r#"{"match":[],"health_check":{"path":"a b"}}"#,
            Wrong,
            "health_check.path",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/%zz"}}"#,
            Wrong,
            "health_check.path",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/up?a=%2"}}"#,
            Wrong,
            "health_check.path",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","intervall":"1s"}}"#,
            Wrong,
            "health_check.intervall",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","interval":"9ms"}}"#,
            Wrong,
            "health_check.interval",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","timeout":"0s"}}"#,
            Wrong,
            "health_check.timeout",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","unhealthy_after":0}}"#,
            Wrong,
            "health_check.unhealthy_after",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","healthy_after":101}}"#,
            Wrong,
            "health_check.healthy_after",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","expect":"1xx"}}"#,
            Wrong,
            "health_check.expect",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","expect":"399-200"}}"#,
            Wrong,
            "health_check.expect",
        ),
        (
            r#"{"match":[],"health_check":{"path":"/","expect":200}}"#,
            Wrong,
            "health_check.expect",
        ),
        (r#"{"match":[],"authorizer":"A"}"#, Wrong, "authorizer"),
        (r#"{"match":[],"authorizer":["auth"]}"#, Wrong, "authorizer"),
        (r#"{"match":[],"allow":"10.0.0.0/8"}"#, Wrong, "allow"),
        (
            r#"{"match":[],"allow":["10.0.0.0/8","10.0.0.0/33"]}"#,
            Wrong,
            "allow[1]",
        ),
        (r#"{"match":[],"deny":["example.com"]}"#, Wrong, "deny[0]"),
        (r#"{"match":[],"deny":[7]}"#, Wrong, "deny[0]"),
        (
            r#"{"match":[],"upstream_care":{"eject_for":"0s"}}"#,
            Wrong,
            "upstream_care.eject_for",
        ),
        (
            r#"{"match":[],"upstream_care":{"eject_after":1001}}"#,
            Wrong,
            "upstream_care.eject_after",
        ),
        (r#"{"match":[],"upstream_care":null}"#, Wrong, "upstream_care"),
        (
            r#"{"match":[],"upstream_care":{"max_in_flight":0}}"#,
            Wrong,
            "upstream_care.max_in_flight",
        ),
        (
            r#"{"match":[],"upstream_care":{"queue":10001}}"#,
            Wrong,
            "upstream_care.queue",
        ),
        (
            r#"{"match":[],"upstream_care":{"queue_for":"0s"}}"#,
            Wrong,
            "upstream_care.queue_for",
        ),
        (
            r#"{"match":[],"upstream_care":{"slow_start":5}}"#,
            Wrong,
            "upstream_care.slow_start",
        ),
        (
            r#"{"match":[],"upstream_care":{"quue":0}}"#,
            Wrong,
            "upstream_care.quue",
        ),
    ] {
        assert_refused(Service::parse("web", json), json, kind, &[field]);
    }
}

#[test]
fn mail() {
    for (json, field) in [
        (r#"{"match":[],"open":1}"#, "open"),
        (r#"{"match":[],"mail":"raw"}"#, "mail"),
        (r#"{"match":[],"mail":{"shape":"lmtp"}}"#, "mail.shape"),
        (r#"{"match":[],"mail":{"path":"messages"}}"#, "mail.path"),
        (r#"{"match":[],"mail":{"path":null}}"#, "mail.path"),
        (
            r#"{"match":[],"mail":{"validate_recipient":"a b"}}"#,
            "mail.validate_recipient",
        ),
        (r#"{"match":[],"mail":{"signing_key":"secret"}}"#, "mail.signing_key"),
        (r#"{"match":[],"mail":{"signing_key":{}}}"#, "mail.signing_key.file"),
        (
            r#"{"match":[],"mail":{"signing_key":{"file":""}}}"#,
            "mail.signing_key.file",
        ),
        (
            r#"{"match":[],"mail":{"signing_key":{"file":"a","key":"b"}}}"#,
            "mail.signing_key.key",
        ),
        (r#"{"match":[],"mail":{"shape":"mailgun"}}"#, "mail.signing_key"),
        (r#"{"match":[],"mail":{"colour":1}}"#, "mail.colour"),
        (r#"{"match":[{"recipients":"*"}]}"#, "match[0].recipients"),
        (r#"{"match":[{"recipients":[]}]}"#, "match[0].recipients"),
        (
            r#"{"match":[{"recipients":["a.example"]},{"recipients":[]}]}"#,
            "match[1].recipients",
        ),
        (r#"{"match":[{"recipients":["*"]}]}"#, "match[0].recipients"),
        (
            r#"{"match":[{},{"recipients":["a.example","*"]}]}"#,
            "match[1].recipients",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"hosts":["a.example"]}]}"#,
            "match[0].hosts",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"path_prefix":"/"}]}"#,
            "match[0].path_prefix",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"path_regex":"/"}]}"#,
            "match[0].path_regex",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"methods":["MAIL"]}]}"#,
            "match[0].methods",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"headers":{"a":"b"}}]}"#,
            "match[0].headers",
        ),
        (
            r#"{"match":[{"recipients":["a.example"],"priority":1}]}"#,
            "match[0].priority",
        ),
    ] {
        assert_refused(Service::parse("mail", json), json, Wrong, &[field]);
    }
}

#[test]
fn recipients() {
    for recipient in [
        "",
        "@",
        "a@",
        "@a.example",
        "*@a.example",
        "a b@c.example",
        "\"a@b.example",
        "a..b@c.example",
        ".a@b.example",
        "a@*.example",
        "*.",
        "**",
        "a@b@",
        "a@-b",
        "<a@b.example>",
        "a.example:25",
        "a@b c",
        "ä b.example",
        "\"\u{7}\"@a.example",
    ] {
        let json = serde_json::json!({"match": [{"recipients": [recipient]}]}).to_string();
        assert_refused(Service::parse("mail", &json), &json, Wrong, &["match[0].recipients[0]"]);
    }
    let long = format!(r#"{{"match":[{{"recipients":["{}@a.example"]}}]}}"#, "a".repeat(65));
    assert_refused(Service::parse("mail", &long), &long, Wrong, &["match[0].recipients[0]"]);
}

#[test]
fn upstreams() {
    for (json, kind, field) in [
        ("", Malformed, ""),
        (r#"{"weight":1,"weight":1}"#, Malformed, "weight"),
        (r#""127.0.0.1:1""#, Wrong, ""),
        (r#"{"adress":"127.0.0.1:1"}"#, Wrong, "adress"),
        (r#"{"address":"127.0.0.1"}"#, Wrong, "address"),
        (r#"{"address":7}"#, Wrong, "address"),
        (r#"{"weight":1001}"#, Wrong, "weight"),
        (r#"{"weight":-1}"#, Wrong, "weight"),
        (r#"{"weight":"1"}"#, Wrong, "weight"),
        (r#"{"state":"gone"}"#, Wrong, "state"),
        (r#"{"state":true}"#, Wrong, "state"),
        (r#"{"ttl":15}"#, Wrong, "ttl"),
        (r#"{"ttl":"15"}"#, Wrong, "ttl"),
        (r#"{"ttl":"999ms"}"#, Wrong, "ttl"),
        (r#"{"ttl":"25h"}"#, Wrong, "ttl"),
    ] {
        assert_refused(Upstream::parse("web", "127.0.0.1:3000", json), json, kind, &[field]);
    }
    assert_refused(
        Upstream::parse("web", "blue", "{}"),
        "an id that is no address",
        Wrong,
        &["address"],
    );
    assert_refused(
        Upstream::parse("web", "a b:1", "{}"),
        "an id with a space",
        Wrong,
        &["id"],
    );
    assert_refused(
        Upstream::parse("Web", "a:1", "{}"),
        "a service in upper case",
        Wrong,
        &["service"],
    );
    assert_refused(Service::parse(&"a".repeat(64), "{}"), "a long name", Wrong, &["name"]);
}

#[test]
fn all_errors_are_told_and_the_worst_decides() {
    let both = r#"{"match":[{"path_regex":"(","priority":"x"}],"open":7,"what":1}"#;
    let expected = ["match[0].path_regex", "match[0].priority", "open", "what"];
    assert_refused(Service::parse("web", both), both, Wrong, &expected);
    let both = r#"{"ttl":"0s","weight":-1}"#;
    assert_refused(Upstream::parse("web", "a:1", both), both, Wrong, &["weight", "ttl"]);
    let flood = format!(r#"{{"match":[{}]}}"#, vec!["7"; 200].join(","));
    assert_eq!(Service::parse("web", &flood).unwrap_err().errors.len(), 32);
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_refused(Service::parse("web", &deep), "deep nesting", Malformed, &[""]);
}

#[test]
fn a_duration_without_its_unit_is_shown_one() {
    let invalid = Service::parse("web", r#"{"match":[],"timeouts":{"drain":30}}"#).unwrap_err();
    let detail = &invalid.errors[0].detail;
    assert!(detail.contains(r#"such as "30s", not a number"#), "{detail}");
}

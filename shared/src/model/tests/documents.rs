//! Defaults, and the canonical body.

use std::time::Duration;

use super::{json, service, upstream};
use crate::model::{Balance, Mail, Service, Timeouts, Upstream, UpstreamState, merge_patch};

#[test]
fn a_service_shows_its_defaults_and_stores_none() {
    let service = service(r#"{"match":[{}]}"#);
    assert_eq!(
        service.document(),
        json(
            r#"{
            "match": [{"hosts": [], "path_prefix": null, "path_regex": null, "methods": [], "headers": {}, "priority": 0,
                       "recipients": []}],
            "authorizer": null, "allow": [], "deny": [],
            "balance": "least_request",
            "health_check": null,
            "timeouts": {"connect": "1s", "response": "60s", "idle": "60s", "drain": "60s"},
            "retries": {"attempts": 2},
            "max_body": "50MB",
            "upstream_care": {"eject_after": 5, "eject_for": "10s", "max_in_flight": null, "queue": 0, "queue_for": "1s",
                              "slow_start": "0s"},
            "open": false, "mail": null}"#
        )
    );
    assert_eq!(service.body().as_str(), r#"{"match":[{}]}"#);
}

#[test]
fn an_upstream_shows_its_defaults_and_stores_none() {
    let upstream = upstream("{}");
    assert_eq!(
        upstream.document(),
        json(r#"{"address": "127.0.0.1:3000", "weight": 1, "state": "active", "ttl": null}"#)
    );
    assert_eq!(upstream.body().as_str(), "{}");
}

#[test]
fn everything_that_can_be_said_of_a_service_is_kept() {
    let text = r#"{
        "match": [
            {"hosts": ["API.example.com.", "*.Example.org", "*", "api.example.com"], "path_prefix": "/v2/",
             "methods": ["PUT", "GET", "PUT"], "headers": {"X-Tenant": "Blue", "a": ""}, "priority": -1000},
            {"hosts": "*", "path_regex": "/[0-9]+"},
            {"path_prefix": null, "path_regex": null, "recipients": []}],
        "balance": "round_robin",
        "health_check": {"path": "/healthz?deep=1", "interval": "100ms", "timeout": "2000ms", "unhealthy_after": 1,
                         "healthy_after": 3, "expect": "2xx, 304,400-499,500-503"},
        "timeouts": {"connect": "1500ms", "response": "120s", "idle": "3600s", "drain": "0s"},
        "retries": {"attempts": 0},
        "max_body": "10MiB",
        "upstream_care": {"eject_after": 0, "eject_for": "90s", "max_in_flight": 7, "queue": 20, "queue_for": "2s",
                          "slow_start": "30s"}}"#;
    let parsed = service(text);
    assert_eq!(parsed.balance, Balance::RoundRobin);
    assert_eq!(parsed.max_body, 10_485_760);
    assert_eq!(
        parsed.body().as_str(),
        concat!(
            r#"{"balance":"round_robin","health_check":{"expect":"2xx,304,4xx,500-503","healthy_after":3,"#,
            r#""interval":"100ms","path":"/healthz?deep=1","timeout":"2s","unhealthy_after":1},"match":[{"headers":{"a":"","x-tenant":"Blue"},"#,
            r#""hosts":["api.example.com","*.example.org","*"],"methods":["GET","PUT"],"path_prefix":"/v2/","#,
            r#""priority":-1000},{"hosts":["*"],"path_regex":"/[0-9]+"},{}],"max_body":"10MiB","retries":{"attempts":0},"#,
            r#""timeouts":{"connect":"1500ms","drain":"0s","idle":"1h","response":"2m"},"#,
            r#""upstream_care":{"eject_after":0,"eject_for":"90s","max_in_flight":7,"queue":20,"queue_for":"2s","#,
            r#""slow_start":"30s"}}"#
        )
    );
    for again in [parsed.body().as_str(), &parsed.document().to_string()] {
        assert_eq!(service(again), parsed, "{again}");
        assert_eq!(service(again).body(), parsed.body());
    }
}

#[test]
fn everything_that_can_be_said_of_an_upstream_is_kept() {
    let parsed = upstream(r#"{"address": "Backend.internal.:80", "weight": 0, "state": "draining", "ttl": null}"#);
    assert_eq!(parsed.state, UpstreamState::Draining);
    assert_eq!(
        parsed.body().as_str(),
        r#"{"address":"backend.internal:80","state":"draining","weight":0}"#
    );
    assert_eq!(upstream(parsed.body().as_str()), parsed);
    assert_eq!(parsed.document()["ttl"], serde_json::Value::Null);
    let beating = upstream(r#"{"address": "a:1", "ttl": "60000ms"}"#);
    assert_eq!(beating.ttl, Some(std::time::Duration::from_secs(60)));
    assert_eq!(beating.body().as_str(), r#"{"address":"a:1","ttl":"60s"}"#);
    assert_eq!(upstream(beating.body().as_str()), beating);
    assert_eq!(beating.document()["ttl"], "60s");
    let named = Upstream::parse("web", "[0:0::1]:80", "{}").unwrap();
    assert_eq!((named.address.as_str(), named.body().as_str()), ("[::1]:80", "{}"));
}

#[test]
fn a_health_check_shows_its_defaults_and_stores_none() {
    let service = service(r#"{"match":[],"health_check":{"path":"/up"}}"#);
    assert_eq!(service.body().as_str(), r#"{"health_check":{"path":"/up"},"match":[]}"#);
    assert_eq!(
        service.document()["health_check"],
        json(
            r#"{"path": "/up", "interval": "5s", "timeout": "1s", "unhealthy_after": 3, "healthy_after": 2,
                "expect": "2xx"}"#
        )
    );
    let expect = &service.health_check.unwrap().expect;
    assert_eq!(
        [199, 200, 299, 300].map(|status| expect.holds(status)),
        [false, true, true, false]
    );
}

#[test]
fn the_header_of_a_consistent_hash_is_kept_in_lower_case() {
    let service = service(r#"{"match":[],"balance":{"consistent_hash":{"header":"X-User"}}}"#);
    let body = r#"{"balance":{"consistent_hash":{"header":"x-user"}},"match":[]}"#;
    assert_eq!(service.body().as_str(), body);
    assert_eq!(service.document()["balance"]["consistent_hash"]["header"], "x-user");
}

#[test]
fn the_drain_follows_the_response_unless_it_is_given() {
    let drain = |timeouts: &str| {
        service(&format!(r#"{{"match":[],"timeouts":{timeouts}}}"#))
            .timeouts
            .drain
    };
    assert_eq!(drain("{}"), Timeouts::default().drain);
    assert_eq!(drain(r#"{"response":"5s"}"#), Duration::from_secs(30));
    assert_eq!(drain(r#"{"response":"5m"}"#), Duration::from_secs(300));
    assert_eq!(drain(r#"{"response":"5m","drain":"1s"}"#), Duration::from_secs(1));
}

#[test]
fn fields_are_accepted_at_their_defaults() {
    let service = service(
        r#"{"match": [{"recipients": [], "priority": 0}], "authorizer": null, "allow": [], "deny": [], "health_check": null,
            "open": false, "mail": null, "balance": "random",
            "upstream_care": {"eject_after": 5, "eject_for": "10000ms", "max_in_flight": null, "queue": 0,
                              "queue_for": "1s", "slow_start": "0ms"}}"#,
    );
    assert_eq!(service.body().as_str(), r#"{"balance":"random","match":[{}]}"#);
}

#[test]
fn everything_that_can_be_said_of_mail_is_kept() {
    let parsed = service(
        r#"{"match": [{"recipients": ["Sales@Example.ORG.", "Example.com", "*.Example.net", "*", "example.com.",
                                      "\"John Doe\"@a.example", "\"sales\"@example.org", "Büro@Bücher.example"],
                       "hosts": [], "path_prefix": null, "path_regex": null, "methods": [], "headers": {}, "priority": 0}],
            "open": true,
            "mail": {"shape": "mailgun", "path": "/in", "validate_recipient": "/known?a=b", "signing_key": {"file": "/run/key"}}}"#,
    );
    assert_eq!(
        parsed.body().as_str(),
        concat!(
            r#"{"mail":{"path":"/in","shape":"mailgun","signing_key":{"file":"/run/key"},"validate_recipient":"/known?a=b"},"#,
            r#""match":[{"recipients":["sales@example.org","example.com","*.example.net","*","\"john doe\"@a.example","#,
            r#""büro@bücher.example"]}],"open":true}"#
        )
    );
    for again in [parsed.body().as_str(), &parsed.document().to_string()] {
        assert_eq!(service(again), parsed, "{again}");
    }
}

#[test]
fn mail_shows_its_defaults_and_stores_none() {
    let parsed = service(r#"{"match":[],"mail":{}}"#);
    assert_eq!(parsed.mail, Some(Mail::default()));
    assert_eq!(parsed.body().as_str(), r#"{"mail":{},"match":[]}"#);
    let shown = json(r#"{"shape": "submit", "path": "/messages", "validate_recipient": null, "signing_key": null}"#);
    assert_eq!(parsed.document()["mail"], shown);
}

#[test]
fn the_bounds_are_inclusive() {
    for json in [
        r#"{"match":[{"priority":1000},{"priority":-1000}]}"#,
        r#"{"match":[],"retries":{"attempts":10}}"#,
        r#"{"match":[],"max_body":0}"#,
        r#"{"match":[],"max_body":9007199254740991}"#,
        r#"{"match":[],"timeouts":{"connect":"1ms","response":"24h","idle":"1440m","drain":"0ms"}}"#,
    ] {
        service(json);
    }
    upstream(r#"{"weight":1000}"#);
    let name = "a".repeat(63);
    assert_eq!(Service::parse(&name, r#"{"match":[]}"#).unwrap().name.as_str(), name);
}

#[test]
fn merge_patches_as_the_rfc_shows() {
    // RFC 7396, appendix A
    for (target, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        ),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        let mut value = json(target);
        merge_patch(&mut value, json(patch));
        assert_eq!(value, json(result), "{target} with {patch}");
    }
}

#[test]
fn a_patch_names_what_there_is() {
    let stored = json(r#"{"match": [], "timeouts": {"idle": "5s"}, "max_body": 7}"#);
    let patched = |patch: &str| Service::patched("web", stored.clone(), &json(patch));
    let service = patched(r#"{"timeouts": {"idle": null, "connect": "2s"}, "authorizer": null}"#).unwrap();
    assert_eq!(service.timeouts.idle, Timeouts::default().idle);
    assert_eq!((service.timeouts.connect.as_secs(), service.max_body), (2, 7));
    for (patch, field) in [
        (r#"{"colour": null}"#, "colour"),
        (r#"{"colour": 1}"#, "colour"),
        (r#"{"timeouts": {"conect": null}}"#, "timeouts.conect"),
        (r#"{"match": [{"hsots": null}]}"#, "match[0].hsots"),
        (r#"{"match": null}"#, "match"),
        ("7", ""),
    ] {
        let refused = patched(patch).unwrap_err();
        assert_eq!(refused.errors[0].field, field, "{patch}");
    }
    let upstream = |patch: &str| Upstream::patched("web", "a:1", json(r#"{"weight": 5}"#), &json(patch));
    assert_eq!(upstream(r#"{"weight": null, "ttl": null}"#).unwrap().weight, 1);
    assert_eq!(upstream(r#"{"wieght": null}"#).unwrap_err().errors[0].field, "wieght");
}

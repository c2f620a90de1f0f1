//! Limits as resources, from outside: stored, shown, refused, and live on every proxy when the write answers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod concurrent;
mod costs;
mod delays;
mod observing;
mod standbys;
mod walk;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::world::World;

const LIMIT: &str = "/v1/limits/5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
const OTHER: &str = "/v1/limits/00000000-0000-4000-8000-000000000001";

/// Method, path, body, status, kind, and the field that is blamed.
#[rustfmt::skip]
type Refused = (&'static str, &'static str, &'static str, u16, &'static str, Option<&'static str>);

// One line for each says more than six.
#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    ("PUT", LIMIT, r#"{"threshold": 1"#, 400, "malformed", None),
    ("PUT", LIMIT, r#"{"threshold": 1, "threshold": 2}"#, 400, "malformed", None),
    ("PUT", LIMIT, "[]", 422, "invalid", None),
    ("PUT", LIMIT, "{}", 422, "invalid", Some("threshold")),
    ("PUT", LIMIT, r#"{"threshold": -1}"#, 422, "invalid", Some("threshold")),
    ("PUT", LIMIT, r#"{"threshold": 1000000000001}"#, 422, "invalid", Some("threshold")),
    ("PUT", LIMIT, r#"{"threshold": 1, "period": 0}"#, 422, "invalid", Some("period")),
    ("PUT", LIMIT, r#"{"threshold": 1, "period": 2678401}"#, 422, "invalid", Some("period")),
    ("PUT", LIMIT, r#"{"threshold": 1, "data_size": "much"}"#, 422, "invalid", Some("data_size")),
    ("PUT", LIMIT, r#"{"threshold": 1, "auth_token": "("}"#, 422, "invalid", Some("auth_token")),
    ("PUT", LIMIT, r#"{"threshold": 1, "protocol": "(?=x)"}"#, 422, "invalid", Some("protocol")),
    ("PUT", LIMIT, r#"{"threshold": 1, "method": "[z-a]"}"#, 422, "invalid", Some("method")),
    ("PUT", LIMIT, r#"{"threshold": 1, "path": "(\\w{9}){999}"}"#, 422, "invalid", Some("path")),
    ("PUT", LIMIT, r#"{"threshold": 1, "algorithm": "leaky"}"#, 422, "invalid", Some("algorithm")),
    ("PUT", LIMIT, r#"{"threshold": 1, "on_unreachable": "deny"}"#, 422, "invalid", Some("on_unreachable")),
    ("PUT", LIMIT, r#"{"threshold": 1, "mode": "off"}"#, 422, "invalid", Some("mode")),
    ("PUT", LIMIT, r#"{"threshold": 1, "key": "ip"}"#, 422, "invalid", Some("key")),
    ("PUT", LIMIT, r#"{"threshold": 1, "override": 1}"#, 422, "invalid", Some("override")),
    ("PUT", LIMIT, r#"{"threshold": 1, "service": "Not a name"}"#, 422, "invalid", Some("service")),
    ("PUT", LIMIT, r#"{"threshold": 1, "colour": 1}"#, 422, "invalid", Some("colour")),
    ("PUT", LIMIT, r#"{"threshold": 1, "cost": 2}"#, 422, "invalid", Some("cost")),
    ("PUT", LIMIT, r#"{"threshold": 1, "cost": 0}"#, 422, "invalid", Some("cost")),
    ("PUT", LIMIT, r#"{"threshold": 1, "cost": {"default": 1}}"#, 422, "invalid", Some("cost.request_header")),
    ("PUT", LIMIT, r#"{"threshold": 9, "cost": {"request_header": "x", "default": 0}}"#, 422, "invalid", Some("cost.default")),
    ("PUT", LIMIT, r#"{"threshold": 9, "cost": {"reserve": 9}}"#, 422, "invalid", Some("cost.settle_header")),
    ("PUT", LIMIT, r#"{"threshold": 9, "cost": {"reserve": 10, "settle_header": "x"}}"#, 422, "invalid", Some("cost")),
    ("PUT", LIMIT, r#"{"threshold": 9, "cost": {"reserve": 1, "settle_header": "x", "default": 1}}"#, 422, "invalid", Some("cost.default")),
    ("PUT", LIMIT, r#"{"threshold": 1, "delay_max": "61m"}"#, 422, "invalid", Some("delay_max")),
    ("PUT", LIMIT, r#"{"threshold": 1, "delay_max": 5}"#, 422, "invalid", Some("delay_max")),
    ("PUT", LIMIT, r#"{"threshold": 1, "concurrent": 0}"#, 422, "invalid", Some("concurrent")),
    ("PUT", LIMIT, r#"{"threshold": 1, "concurrent": 1000001}"#, 422, "invalid", Some("concurrent")),
    ("PUT", LIMIT, r#"{"threshold": 1, "concurrent": "5"}"#, 422, "invalid", Some("concurrent")),
    ("PUT", "/v1/limits/mine", r#"{"threshold": 1}"#, 422, "invalid", Some("id")),
    ("PATCH", LIMIT, r#"{"threshold": 1}"#, 404, "not-found", None),
    ("GET", LIMIT, "", 404, "not-found", None),
    ("POST", LIMIT, "", 405, "method-not-allowed", None),
    ("GET", "/v1/limits?limit=0", "", 422, "invalid", Some("limit")),
];

async fn check(api: &Api, (method, path, body, status, kind, field): &Refused) {
    println!("{method} {path} {body}");
    let request = match body.is_empty() {
        true => api.request(method, path),
        false => api.with_json(method, path, body),
    };
    let reply = api.send(&request).await.problem(*status, kind);
    if let Some(field) = field {
        reply.blames(field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_limit_is_refused_and_not_stored() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    for refused in REFUSED {
        check(&api, refused).await;
    }
    let listed = api.get("/v1/limits").await.expect(200);
    assert_eq!(listed.body, json!({"items": [], "next": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_live_on_every_proxy_and_outlives_restarts() {
    let world = World::new();
    let (mut control, mut fleet) = world.fleet(2, &[]).await;
    let api = control.api();
    let limit = json!({"auth_token": "alice@.*", "method": "post", "period": 10, "threshold": 100});
    let written = api.put(LIMIT, limit.clone()).await.live();
    assert_eq!(
        (&written.body["fleet"]["reached"], written.etag()),
        (&json!(2), format!("\"{}\"", written.revision()))
    );
    api.put(OTHER, json!({"threshold": 0, "service": "not-yet"}))
        .await
        .live();
    let changed = api.patch(LIMIT, json!({"threshold": 50})).await.live();
    assert!(changed.revision() > written.revision());
    for node in &fleet {
        let seen = api.get(&format!("/v1/fleet/{}", node.name)).await.expect(200);
        assert_eq!(seen.body["refused"], json!([]), "{}", seen.text);
    }

    fleet[0].kill();
    fleet[0].restart().await;
    control.kill();
    control.restart().await;
    let api = control.api();
    let shown = api.get(LIMIT).await.expect(200);
    assert_eq!(
        (&shown.body["threshold"], &shown.body["method"], &shown.body["revision"]),
        (&json!(50), &json!("post"), &json!(changed.revision()))
    );
    let listed = api.get("/v1/limits").await.expect(200);
    let ids: Vec<String> = listed.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("/v1/limits/{}", item["id"].as_str().unwrap()))
        .collect();
    assert_eq!(ids, [OTHER, LIMIT]);
    api.delete(LIMIT).await.live();
    api.get(LIMIT).await.problem(404, "not-found");
    let again = api.put(LIMIT, limit).await.live();
    assert_eq!(again.body["fleet"]["refused"], json!([]));
}

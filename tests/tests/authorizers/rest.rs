//! Authorizers and what names them at the API: what is refused and by which field, what is shown, and who needs whom.

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::world::World;

const MAIN: &str = "/v1/authorizers/main";
const WEB: &str = "/v1/services/web";

/// A member of an authorizer, and the field that is blamed for it.
const REFUSED: &[(&str, &str)] = &[
    (r#""service": null"#, "service"),
    (r#""service": "none""#, "service"),
    (r#""service": "Auth""#, "service"),
    (r#""service": 5"#, "service"),
    (r#""path": "authorize""#, "path"),
    (r#""path": """#, "path"),
    (r#""path": "/a b""#, "path"),
    (r##""path": "/a#b""##, "path"),
    (r#""path": "/ä""#, "path"),
    (r#""path": 1"#, "path"),
    (r#""style": "grpc""#, "style"),
    (r#""style": "JSON""#, "style"),
    (r#""style": ["json"]"#, "style"),
    (r#""realm": """#, "realm"),
    (r#""realm": "a\"b""#, "realm"),
    (r#""realm": "a\\b""#, "realm"),
    (r#""realm": "a\nb""#, "realm"),
    (r#""realm": "ä""#, "realm"),
    (r#""timeout": "0s""#, "timeout"),
    (r#""timeout": "61s""#, "timeout"),
    (r#""timeout": 500"#, "timeout"),
    (r#""timeout": "soon""#, "timeout"),
    (r#""timeout": "-1s""#, "timeout"),
    (r#""cache": 60"#, "cache"),
    (r#""cache": {"ttl": "x"}"#, "cache.ttl"),
    (r#""cache": {"ttl": 60}"#, "cache.ttl"),
    (r#""cache": {"negative_ttl": "x"}"#, "cache.negative_ttl"),
    (r#""cache": {"stale": true}"#, "cache.stale"),
    (r#""cache": {"tll": "1s"}"#, "cache.tll"),
    (r#""cache": {"vary": []}"#, "cache.vary"),
    (r#""cache": {"vary": "ip"}"#, "cache.vary"),
    (r#""cache": {"vary": ["user"]}"#, "cache.vary[0]"),
    (r#""cache": {"vary": ["ip", "header:"]}"#, "cache.vary[1]"),
    (r#""cache": {"vary": ["header:x y"]}"#, "cache.vary[0]"),
    (r#""on_failure": "pass""#, "on_failure"),
    (r#""on_failure": true"#, "on_failure"),
    (r#""upstreams": "all""#, "upstreams"),
    (r#""upstreams": ["any"]"#, "upstreams"),
    (r#""copy_headers": ["x-user"]"#, "copy_headers"),
    (r#""style": "forward", "copy_headers": "x-user""#, "copy_headers"),
    (r#""style": "forward", "copy_headers": ["x user"]"#, "copy_headers[0]"),
    (
        r#""style": "forward", "copy_headers": ["x-a", "host"]"#,
        "copy_headers[1]",
    ),
    (
        r#""style": "forward", "copy_headers": ["Connection"]"#,
        "copy_headers[0]",
    ),
    (
        r#""style": "forward", "copy_headers": ["x-vulcan-auth-token"]"#,
        "copy_headers[0]",
    ),
    (r#""name": "other""#, "name"),
    (r#""colour": "red""#, "colour"),
];

/// Of a service.
const LISTS_REFUSED: &[(&str, &str)] = &[
    (r#""allow": "10.0.0.0/8""#, "allow"),
    (r#""allow": ["10.0.0.0/33"]"#, "allow[0]"),
    (r#""allow": ["10.0.0"]"#, "allow[0]"),
    (r#""deny": ["::1", "localhost"]"#, "deny[1]"),
    (r#""deny": [7]"#, "deny[0]"),
    (r#""authorizer": "none""#, "authorizer"),
    (r#""authorizer": "Main""#, "authorizer"),
    (r#""authorizer": 1"#, "authorizer"),
];

async fn api(world: &World) -> (vulcan_tests::node::Node, Api) {
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.put("/v1/services/auth", json!({"match": []})).await.live();
    (control, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_held_to_its_rule() {
    let world = World::new();
    let (_control, api) = api(&world).await;
    api.put(MAIN, json!({"service": "auth"})).await.live();
    let before = api.get("/v1/snapshot").await.text;
    let mut wrong = Vec::new();
    let mut tries = async |method: &str, path: &str, body: String, field: &str| {
        let reply = api.send(&api.with_json(method, path, &body)).await;
        let told = reply.body["errors"].as_array().cloned().unwrap_or_default();
        let is_blamed = told
            .iter()
            .any(|error| error["field"] == field && error["detail"].is_string());
        if reply.status != 422 || reply.body["type"] != "urn:vulcan:invalid" || !is_blamed {
            wrong.push(format!("{method} {path} {body}: {} {}", reply.status, reply.text));
        }
    };
    for (member, field) in REFUSED {
        let service = if member.contains("\"service\"") {
            ""
        } else {
            r#""service": "auth", "#
        };
        tries("PUT", MAIN, format!("{{{service}{member}}}"), field).await;
        tries("PATCH", MAIN, format!("{{{member}}}"), field).await;
    }
    tries("PUT", MAIN, "{}".into(), "service").await;
    tries("PUT", "/v1/authorizers/Main", r#"{"service": "auth"}"#.into(), "name").await;
    tries("PUT", "/v1/authorizers/-", r#"{"service": "auth"}"#.into(), "name").await;
    for (member, field) in LISTS_REFUSED {
        tries("PUT", WEB, format!(r#"{{"match": [], {member}}}"#), field).await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(api.get("/v1/snapshot").await.text, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_are_shown_and_changes_are_conditional() {
    let world = World::new();
    let (_control, api) = api(&world).await;
    let put = api.put(MAIN, json!({"service": "auth"})).await.live();
    let shown = api.get(MAIN).await.expect(200);
    assert_eq!(shown.etag(), format!("\"{}\"", put.revision()));
    let expected = json!({"name": "main", "revision": put.revision(), "service": "auth", "path": "/authorize",
        "style": "json", "realm": "vulcan", "timeout": "500ms",
        "cache": {"ttl": "60s", "negative_ttl": "10s", "stale": "0s",
            "vary": ["username", "password", "protocol", "method", "uri", "length", "ip"]},
        "on_failure": "deny", "upstreams": "registered", "copy_headers": []});
    assert_eq!(shown.body, expected);
    let again = api.put(MAIN, shown.body).await.live();
    assert_eq!(
        again.revision(),
        put.revision(),
        "what is shown is taken back, and nothing changes"
    );

    let everything = json!({"service": "auth", "path": "/check?v=1", "style": "forward", "realm": "The API",
        "timeout": "2s", "cache": {"ttl": "5m", "negative_ttl": "0s", "stale": "1h", "vary": ["ip", "header:x-key"]},
        "on_failure": "allow", "upstreams": "any", "copy_headers": ["x-user"]});
    let etag = shown_etag(&api).await;
    let put = api
        .send(
            &api.with_json("PUT", MAIN, &everything.to_string())
                .with("if-match", &etag),
        )
        .await
        .live();
    let mut shown = api.get(MAIN).await.body;
    let members = shown.as_object_mut().unwrap();
    members.remove("name");
    assert_eq!(members.remove("revision"), Some(json!(put.revision())));
    assert_eq!(shown, everything);

    let stale = api
        .with_json("PATCH", MAIN, r#"{"realm": "x"}"#)
        .with("if-match", &etag);
    let stale = api.send(&stale).await.problem(412, "precondition-failed");
    assert_eq!(stale.body["current"]["realm"], "The API");
    let gone = api.request("DELETE", MAIN).with("if-match", &etag);
    api.send(&gone).await.problem(412, "precondition-failed");
    let new = api
        .with_json("PUT", MAIN, r#"{"service": "auth"}"#)
        .with("if-none-match", "*");
    api.send(&new).await.problem(412, "precondition-failed");
    let patch = json!({"cache": {"ttl": null}, "copy_headers": null, "style": null, "upstreams": null});
    api.patch(MAIN, patch).await.live();
    let shown = api.get(MAIN).await.body;
    let told = [
        &shown["cache"]["ttl"],
        &shown["style"],
        &shown["upstreams"],
        &shown["cache"]["stale"],
    ];
    assert_eq!(told, ["60s", "json", "registered", "1h"]);
    api.patch("/v1/authorizers/none", json!({"realm": "x"}))
        .await
        .problem(404, "not-found");
    api.get("/v1/authorizers/none").await.problem(404, "not-found");
}

async fn shown_etag(api: &Api) -> String {
    api.get(MAIN).await.etag()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_stays() {
    let world = World::new();
    let (_control, api) = api(&world).await;
    let web = json!({"match": [], "authorizer": "main"});
    api.put(WEB, web.clone())
        .await
        .problem(422, "invalid")
        .blames("authorizer");
    api.put(MAIN, json!({"service": "auth"})).await.live();
    api.put(WEB, web).await.live();
    let used = api.delete(MAIN).await.problem(409, "conflict");
    assert_eq!(used.body["with"], "service/web");
    let used = api.delete("/v1/services/auth").await.problem(409, "conflict");
    assert_eq!(used.body["with"], "authorizer/main");
    // Only what names it holds it: with another authorizer in its place it may go.
    api.put("/v1/authorizers/other", json!({"service": "auth"}))
        .await
        .live();
    api.patch(WEB, json!({"authorizer": "other"})).await.live();
    api.delete(MAIN).await.live();
    api.delete("/v1/services/auth").await.problem(409, "conflict");
    // A service goes with its own use of an authorizer; its upstreams hold nothing.
    api.delete(WEB).await.live();
    api.delete("/v1/authorizers/other").await.live();
    api.register("auth", "a", "127.0.0.1:1").await.live();
    api.delete("/v1/services/auth").await.live();
    api.delete(MAIN).await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn authorizers_are_listed_in_pages() {
    let world = World::new();
    let (_control, api) = api(&world).await;
    for name in ["c", "a", "e", "b", "d"] {
        let path = format!("/v1/authorizers/{name}");
        api.put(&path, json!({"service": "auth"})).await.live();
    }
    let (mut seen, mut cursor) = (Vec::<Value>::new(), String::new());
    loop {
        let page = api
            .get(&format!("/v1/authorizers?limit=2{cursor}"))
            .await
            .expect(200)
            .body;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2 && items.iter().all(|item| item["style"] == "json"));
        seen.extend(items.iter().map(|item| item["name"].clone()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    for bad in ["limit=0", "limit=1001", "limit=x"] {
        let refused = api.get(&format!("/v1/authorizers?{bad}")).await;
        refused.problem(422, "invalid").blames("limit");
    }
}

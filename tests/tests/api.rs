//! The REST interface from outside: representations, conditions, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const WEB: &str = "/v1/services/web";
const ONE: &str = "/v1/services/web/upstreams/one";

fn web() -> Value {
    json!({"match": [{"hosts": ["web.example"], "path_prefix": "/v2"}]})
}

async fn head(api: &Api) -> u64 {
    api.get("/v1/fleet").await.expect(200).body["head"].as_u64().unwrap()
}

/// Method, path, body, status, kind, and the field that is blamed.
#[rustfmt::skip]
type Refused = (&'static str, &'static str, &'static str, u16, &'static str, Option<&'static str>);

// One line for each says more than six.
#[rustfmt::skip]
const REFUSED: &[Refused] = &[
    ("PUT", WEB, r#"{"match": ["#, 400, "malformed", None),
    ("PUT", WEB, r#"{"match": [], "match": []}"#, 400, "malformed", None),
    ("PUT", WEB, r#"{"match": []} x"#, 400, "malformed", None),
    ("PUT", WEB, "[]", 422, "invalid", None),
    ("PUT", WEB, "{}", 422, "invalid", Some("match")),
    ("PUT", WEB, r#"{"match": [], "colour": 1}"#, 422, "invalid", Some("colour")),
    ("PUT", WEB, r#"{"match": "all"}"#, 422, "invalid", Some("match")),
    ("PUT", WEB, r#"{"match": [{"path_regex": "("}]}"#, 422, "invalid", Some("match[0].path_regex")),
    ("PUT", WEB, r#"{"match": [{}, {"colour": 1}]}"#, 422, "invalid", Some("match[1].colour")),
    ("PUT", WEB, r#"{"match": [{"priority": 1001}]}"#, 422, "invalid", Some("match[0].priority")),
    ("PUT", WEB, r#"{"match": [], "timeouts": {"drain": "soon"}}"#, 422, "invalid", Some("timeouts.drain")),
    ("PUT", WEB, r#"{"match": [], "timeouts": {"tea": "5s"}}"#, 422, "invalid", Some("timeouts.tea")),
    ("PUT", WEB, r#"{"match": [], "max_body": "5 potatoes"}"#, 422, "invalid", Some("max_body")),
    ("PUT", WEB, r#"{"match": [], "retries": {"attempts": -1}}"#, 422, "invalid", Some("retries.attempts")),
    ("PUT", WEB, r#"{"match": [], "balance": "fair"}"#, 422, "invalid", Some("balance")),
    ("PUT", WEB, r#"{"match": [], "name": "other"}"#, 422, "invalid", Some("name")),
    ("PUT", WEB, r#"{"match": [], "health_check": {}}"#, 422, "invalid", Some("health_check.path")),
    ("PUT", WEB, r#"{"match": [], "authorizer": "auth"}"#, 422, "invalid", Some("authorizer")),
    ("PUT", WEB, r#"{"match": [{"recipients": ["*"]}]}"#, 422, "invalid", Some("match[0].recipients")),
    ("PUT", "/v1/services/Web", r#"{"match": []}"#, 422, "invalid", Some("name")),
    ("PUT", "/v1/services/-web", r#"{"match": []}"#, 422, "invalid", Some("name")),
    ("PUT", "/v1/services/new", r#"{"match": [{"hosts": ["web.example"], "path_prefix": "/v2"}]}"#, 409, "conflict", None),
    ("PUT", ONE, r#"{"address": "127.0.0.1"}"#, 422, "invalid", Some("address")),
    ("PUT", ONE, r#"{"address": "127.0.0.1:99999"}"#, 422, "invalid", Some("address")),
    ("PUT", ONE, r#"{"address": "127.0.0.1:1", "weight": 1001}"#, 422, "invalid", Some("weight")),
    ("PUT", ONE, r#"{"address": "127.0.0.1:1", "state": "asleep"}"#, 422, "invalid", Some("state")),
    ("PUT", ONE, r#"{"address": "127.0.0.1:1", "ttl": "500ms"}"#, 422, "invalid", Some("ttl")),
    ("PUT", ONE, r#"{"address": "127.0.0.1:1", "id": "two"}"#, 422, "invalid", Some("id")),
    ("PUT", "/v1/services/web/upstreams/not-an-address", "{}", 422, "invalid", Some("address")),
    ("PUT", "/v1/services/web/upstreams/_x", r#"{"address": "127.0.0.1:1"}"#, 422, "invalid", Some("id")),
    ("PUT", "/v1/services/none/upstreams/one", r#"{"address": "127.0.0.1:1"}"#, 404, "not-found", None),
    ("PATCH", "/v1/services/none", r#"{"max_body": 1}"#, 404, "not-found", None),
    ("PATCH", WEB, r#"{"match": null}"#, 422, "invalid", Some("match")),
    ("PATCH", "/v1/services/web/upstreams/none", r#"{"weight": 1}"#, 404, "not-found", None),
    ("PUT", "/v1/services/web?wait=soon", r#"{"match": []}"#, 422, "invalid", Some("wait")),
    ("PUT", "/v1/services/web?timeout=11m", r#"{"match": []}"#, 422, "invalid", Some("timeout")),
    ("PUT", "/v1/services/web?colour=1", r#"{"match": []}"#, 400, "malformed", None),
    ("PUT", "/v1/services/web?wait=none&wait=none", r#"{"match": []}"#, 400, "malformed", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_has_its_status_and_field_and_changes_nothing() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.put(WEB, web()).await.live();
    let before = (head(&api).await, api.get("/v1/snapshot").await.expect(200).text);
    let mut wrong = Vec::new();
    for (method, path, body, status, kind, field) in REFUSED {
        let reply = api.send(&api.with_json(method, path, body)).await;
        let told = reply.body["errors"].as_array().cloned().unwrap_or_default();
        let blamed = field.is_none_or(|field| told.iter().any(|error| error["field"] == field));
        if reply.status != *status || reply.body["type"] != format!("urn:vulcan:{kind}") || !blamed {
            wrong.push(format!("{method} {path} {body}: {} {}", reply.status, reply.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let long = format!("/v1/services/{}", "x".repeat(64));
    api.put(&long, json!({"match": []}))
        .await
        .problem(422, "invalid")
        .blames("name");
    let reply = api.put("/v1/services/new", web()).await.problem(409, "conflict");
    assert!(reply.text.contains("web"), "the other service is named: {}", reply.text);
    assert_eq!(
        before,
        (head(&api).await, api.get("/v1/snapshot").await.expect(200).text)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transport_errors_have_their_kinds() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    let text = api.request("PUT", WEB).with("content-type", "text/plain").body("{}");
    api.send(&text).await.problem(415, "unsupported-media-type");
    let untyped = api.request("PUT", WEB).body("{}");
    api.send(&untyped).await.problem(415, "unsupported-media-type");
    api.get("/v1/nowhere").await.problem(404, "not-found");
    api.get("/v1/services/none").await.problem(404, "not-found");
    let reply = api
        .send(&api.request("DELETE", "/v1/services"))
        .await
        .problem(405, "method-not-allowed");
    assert!(reply.head.fields.lists("allow", "GET"), "{:?}", reply.head);
    let huge = api.with_json(
        "PUT",
        WEB,
        &format!("{{\"match\": [], \"pad\": \"{}\"}}", "x".repeat(2 << 20)),
    );
    // The refusal may come before all is sent; then the connection is closed under the rest.
    if let Ok(reply) = api.try_send(&huge).await {
        reply.problem(413, "too-large");
    }
    assert_eq!(head(&api).await, 0);
    let foreign = Request::new("GET", "/v1/services", "evil.example");
    assert!(
        matches!(api.send(&foreign).await.status, 400 | 403 | 421),
        "a foreign Host"
    );
    let origin = api.request("GET", "/v1/services").with("origin", "http://evil.example");
    api.send(&origin).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_show_their_defaults_and_take_back_what_they_show() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    let put = api.put(WEB, web()).await.live();
    assert_eq!(put.body["committed"], true);
    let shown = api.get(WEB).await.expect(200);
    assert_eq!(shown.etag(), format!("\"{}\"", put.revision()));
    let expected = json!({"name": "web", "revision": put.revision(), "authorizer": null,
        "allow": [], "deny": [], "balance": "least_request",
        "match": [{"hosts": ["web.example"], "path_prefix": "/v2", "path_regex": null, "methods": [], "headers": {},
            "priority": 0, "recipients": []}],
        "timeouts": {"connect": "1s", "response": "60s", "idle": "60s", "drain": "60s"},
        "retries": {"attempts": 2}, "max_body": "50MB", "health_check": null,
        "upstream_care": {"eject_after": 5, "eject_for": "10s", "max_in_flight": null, "queue": 0, "queue_for": "1s",
            "slow_start": "0s"},
        "open": false, "mail": null});
    assert_eq!(shown.body, expected);
    // An identical PUT commits nothing, and waits at the true head.
    let again = api.put(WEB, shown.body.clone()).await.live();
    assert_eq!((again.revision(), head(&api).await), (put.revision(), put.revision()));
    let bare = "/v1/services/web/upstreams/127.0.0.1:3000";
    let put = api.put_bare(bare).await.live();
    let shown = api.get(bare).await.expect(200);
    let expected = json!({"service": "web", "id": "127.0.0.1:3000", "address": "127.0.0.1:3000", "weight": 1,
        "state": "active", "ttl": null, "revision": put.revision()});
    assert_eq!(shown.body, expected);
    let again = api.put(bare, shown.body.clone()).await.live();
    assert_eq!((again.revision(), head(&api).await), (put.revision(), put.revision()));
    let patched = api.patch(bare, json!({"weight": 5})).await.live();
    assert_eq!(api.get(bare).await.body["weight"], 5);
    assert_eq!(api.get(bare).await.revision(), patched.revision());
    let merge = api
        .request("PATCH", bare)
        .with("content-type", "application/merge-patch+json")
        .body(r#"{"weight": null}"#);
    api.send(&merge).await.live();
    assert_eq!(api.get(bare).await.body["weight"], 1, "null takes a member away");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_may_hold_brackets_and_colons() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.put(WEB, web()).await.live();
    let spellings = ["[::1]:3000", "%5B::1%5D:3000", "%5b%3A%3a1%5d%3A3000"];
    for id in spellings {
        let reply = api.put_bare(&format!("{WEB}/upstreams/{id}")).await.live();
        assert_eq!(reply.revision(), 2, "{id} is the same id");
        assert_eq!(
            api.get(&format!("{WEB}/upstreams/{id}")).await.expect(200).body["id"],
            "[::1]:3000"
        );
    }
    api.put(&format!("{WEB}/upstreams/%C3%A9"), json!({"address": "127.0.0.1:1"}))
        .await
        .problem(422, "invalid");
    let broken = api
        .put(&format!("{WEB}/upstreams/a%zz"), json!({"address": "127.0.0.1:1"}))
        .await;
    assert!(matches!(broken.status, 400 | 422), "{}", broken.text);
    let slash = api
        .put(&format!("{WEB}/upstreams/a%2Fb"), json!({"address": "127.0.0.1:1"}))
        .await;
    assert!(matches!(slash.status, 404 | 422), "{}", slash.text);
    assert_eq!(
        api.get(&format!("{WEB}/upstreams")).await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    api.delete(&format!("{WEB}/upstreams/%5B::1%5D%3A3000")).await.live();
    api.get(&format!("{WEB}/upstreams/[::1]:3000"))
        .await
        .problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_held() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    let with =
        |method: &str, header: &str, value: &str, body: &str| api.with_json(method, WEB, body).with(header, value);
    let body = web().to_string();
    // Of what is absent every If-Match fails.
    api.send(&with("PUT", "if-match", "*", &body))
        .await
        .problem(412, "precondition-failed");
    api.send(&with("PUT", "if-none-match", "*", &body)).await.live();
    api.send(&with("PUT", "if-none-match", "*", &body))
        .await
        .problem(412, "precondition-failed");
    let etag = api.get(WEB).await.etag();
    let changed = r#"{"match": [], "max_body": 7}"#;
    let stale = api
        .send(&with("PUT", "if-match", "\"999\"", changed))
        .await
        .problem(412, "precondition-failed");
    assert!(
        stale.text.contains("web.example"),
        "the current state is shown: {}",
        stale.text
    );
    api.send(&with("PUT", "if-match", &format!("W/{etag}"), changed))
        .await
        .problem(412, "precondition-failed");
    api.send(&with("PUT", "if-match", &format!("\"999\", {etag}"), changed))
        .await
        .live();
    api.send(&with("PATCH", "if-match", &etag, r#"{"max_body": 8}"#))
        .await
        .problem(412, "precondition-failed");
    let etag = api.get(WEB).await.etag();
    api.send(&api.request("DELETE", WEB).with("if-match", "\"998\", \"999\""))
        .await
        .problem(412, "precondition-failed");
    api.send(&api.request("DELETE", WEB).with("if-match", &etag))
        .await
        .live();
    api.send(&api.request("DELETE", WEB).with("if-match", "*"))
        .await
        .problem(412, "precondition-failed");
    let gone = head(&api).await;
    assert_eq!(
        api.delete(WEB).await.live().revision(),
        gone,
        "what is absent is not deleted again"
    );
    api.delete("/v1/services/none/upstreams/one").await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_with_one_etag_one_wins() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.put(WEB, web()).await.live();
    let etag = api.get(WEB).await.etag();
    let mut writers = tokio::task::JoinSet::new();
    for n in 1..=20 {
        let (api, etag) = (api.clone(), etag.clone());
        writers.spawn(async move {
            let body = json!({"match": [], "max_body": n}).to_string();
            api.send(&api.with_json("PUT", WEB, &body).with("if-match", &etag))
                .await
                .status
        });
    }
    let mut statuses = writers.join_all().await;
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1]), (200, 412), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_ordered_and_paged() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    for name in ["c", "a", "e", "b", "d"] {
        api.put(&format!("/v1/services/{name}"), json!({"match": []}))
            .await
            .live();
        let path = format!("/v1/services/c/upstreams/{name}");
        api.put(&path, json!({"address": "10.0.0.1:1"})).await.live();
    }
    for (path, key) in [("/v1/services", "name"), ("/v1/services/c/upstreams", "id")] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("{path}?limit=2{cursor}")).await.expect(200);
            let items = page.body["items"].as_array().unwrap().clone();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        for bad in ["limit=0", "limit=1001", "limit=x"] {
            api.get(&format!("{path}?{bad}"))
                .await
                .problem(422, "invalid")
                .blames("limit");
        }
    }
}

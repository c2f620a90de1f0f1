//! Whatever is wrong is told by status, type and field, and changes nothing.

use serde_json::json;

use crate::plane::Plane;

const SERVICE: &str = "/v1/services/web";
const UPSTREAM: &str = "/v1/services/web/upstreams/127.0.0.1:3000";
const JSON: &str = "content-type: application/json";

struct Bad {
    method: &'static str,
    path: String,
    headers: &'static str,
    body: String,
    /// Status, type and the first field named.
    expected: (u16, &'static str, Option<&'static str>),
}

fn bad(
    method: &'static str,
    path: &str,
    body: &str,
    status: u16,
    kind: &'static str,
    field: Option<&'static str>,
) -> Bad {
    let headers = if body.is_empty() { "" } else { JSON };
    Bad {
        method,
        path: path.to_owned(),
        headers,
        body: body.to_owned(),
        expected: (status, kind, field),
    }
}

fn documents() -> Vec<Bad> {
    let service = |body: &str, status, kind, field| bad("PUT", SERVICE, body, status, kind, field);
    let upstream = |body: &str, status, kind, field| bad("PUT", UPSTREAM, body, status, kind, field);
    vec![
        service("", 400, "malformed", None),
        service("{", 400, "malformed", None),
        service("{\"match\": []} x", 400, "malformed", None),
        service(r#"{"match": [], "match": []}"#, 400, "malformed", Some("match")),
        service(
            r#"{"match": [{"hosts": [], "hosts": []}]}"#,
            400,
            "malformed",
            Some("match[0].hosts"),
        ),
        service("[]", 422, "invalid", None),
        service("{}", 422, "invalid", Some("match")),
        service(r#"{"match": {}}"#, 422, "invalid", Some("match")),
        service(r#"{"match": [], "colour": 1}"#, 422, "invalid", Some("colour")),
        service(
            r#"{"match": [{"path_regex": "("}]}"#,
            422,
            "invalid",
            Some("match[0].path_regex"),
        ),
        service(
            r#"{"match": [{"path_prefix": "/a", "path_regex": "/b"}]}"#,
            422,
            "invalid",
            None,
        ),
        service(
            r#"{"match": [{"hosts": ["exa mple"]}]}"#,
            422,
            "invalid",
            Some("match[0].hosts[0]"),
        ),
        service(
            r#"{"match": [{"priority": 1001}]}"#,
            422,
            "invalid",
            Some("match[0].priority"),
        ),
        service(
            r#"{"match": [], "timeouts": {"connect": 1}}"#,
            422,
            "invalid",
            Some("timeouts.connect"),
        ),
        service(
            r#"{"match": [], "timeouts": {"connect": "1 s"}}"#,
            422,
            "invalid",
            Some("timeouts.connect"),
        ),
        service(r#"{"match": [], "max_body": "much"}"#, 422, "invalid", Some("max_body")),
        service(r#"{"match": [], "balance": "fair"}"#, 422, "invalid", Some("balance")),
        service(
            r#"{"match": [], "balance": {"consistent_hash": {"header": "a", "cookie": "b"}}}"#,
            422,
            "invalid",
            Some("balance.consistent_hash.cookie"),
        ),
        service(
            r#"{"match": [], "health_check": {"path": "/", "expect": "ok"}}"#,
            422,
            "invalid",
            Some("health_check.expect"),
        ),
        service(
            r#"{"match": [], "upstream_care": {"max_in_flight": 0}}"#,
            422,
            "invalid",
            Some("upstream_care.max_in_flight"),
        ),
        service(
            r#"{"match": [], "authorizer": "a"}"#,
            422,
            "invalid",
            Some("authorizer"),
        ),
        service(r#"{"match": [], "name": "other"}"#, 422, "invalid", Some("name")),
        service(r#"{"match": [], "revision": 99}"#, 422, "invalid", Some("revision")),
        service(r#"{"match": [], "revision": "1"}"#, 422, "invalid", Some("revision")),
        service(
            r#"{"match": [{"hosts": ["taken.example.com"]}]}"#,
            409,
            "conflict",
            Some("match[0]"),
        ),
        upstream("[", 400, "malformed", None),
        upstream(r#"{"weight": 1, "weight": 2}"#, 400, "malformed", Some("weight")),
        upstream(r#"{"weight": 1001}"#, 422, "invalid", Some("weight")),
        upstream(r#"{"weight": -1}"#, 422, "invalid", Some("weight")),
        upstream(r#"{"state": "gone"}"#, 422, "invalid", Some("state")),
        upstream(r#"{"address": "127.0.0.1"}"#, 422, "invalid", Some("address")),
        upstream(r#"{"ttl": "0s"}"#, 422, "invalid", Some("ttl")),
        upstream(r#"{"service": "api"}"#, 422, "invalid", Some("service")),
        upstream(r#"{"id": "x"}"#, 422, "invalid", Some("id")),
        bad(
            "PUT",
            "/v1/services/web/upstreams/a",
            "",
            422,
            "invalid",
            Some("address"),
        ),
        bad(
            "PATCH",
            SERVICE,
            r#"{"max_body": "x"}"#,
            422,
            "invalid",
            Some("max_body"),
        ),
        bad("PATCH", SERVICE, r#"{"match": null}"#, 422, "invalid", Some("match")),
        bad("PATCH", SERVICE, r#"{"colour": null}"#, 422, "invalid", Some("colour")),
        bad(
            "PATCH",
            SERVICE,
            r#"{"timeouts": {"conect": null}, "max_body": 1}"#,
            422,
            "invalid",
            Some("timeouts.conect"),
        ),
        bad("PATCH", UPSTREAM, r#"{"wieght": null}"#, 422, "invalid", Some("wieght")),
        bad("PATCH", SERVICE, "7", 422, "invalid", None),
        bad("PATCH", SERVICE, "", 400, "malformed", None),
        bad("PATCH", UPSTREAM, r#"{"weight": "1"}"#, 422, "invalid", Some("weight")),
        bad(
            "PATCH",
            "/v1/services/absent",
            r#"{"max_body": 1}"#,
            404,
            "not-found",
            None,
        ),
        bad(
            "PATCH",
            "/v1/services/web/upstreams/b:1",
            r#"{"weight": 1}"#,
            404,
            "not-found",
            None,
        ),
        bad("POST", "/v1/fleet/succeed", "{}", 422, "invalid", Some("epoch")),
        bad(
            "POST",
            "/v1/fleet/succeed",
            r#"{"epoch": "x"}"#,
            422,
            "invalid",
            Some("epoch"),
        ),
        bad(
            "POST",
            "/v1/fleet/succeed",
            r#"{"epoch": "x", "force": 1}"#,
            422,
            "invalid",
            Some("force"),
        ),
    ]
}

fn addresses() -> Vec<Bad> {
    let long = "a".repeat(64);
    vec![
        bad(
            "PUT",
            "/v1/services/Web",
            r#"{"match": []}"#,
            422,
            "invalid",
            Some("name"),
        ),
        bad(
            "PUT",
            "/v1/services/-web",
            r#"{"match": []}"#,
            422,
            "invalid",
            Some("name"),
        ),
        bad(
            "PUT",
            &format!("/v1/services/{long}"),
            r#"{"match": []}"#,
            422,
            "invalid",
            Some("name"),
        ),
        bad(
            "PUT",
            "/v1/services/a%2Fb",
            r#"{"match": []}"#,
            422,
            "invalid",
            Some("name"),
        ),
        bad("GET", "/v1/services/a%20b", "", 422, "invalid", Some("name")),
        bad("DELETE", "/v1/services/W", "", 422, "invalid", Some("name")),
        bad("PUT", "/v1/services/a%FFb", r#"{"match": []}"#, 400, "malformed", None),
        bad(
            "PUT",
            "/v1/services/web/upstreams/a%2Fb",
            "",
            422,
            "invalid",
            Some("id"),
        ),
        bad(
            "PUT",
            &format!("/v1/services/web/upstreams/{}", "a".repeat(129)),
            "",
            422,
            "invalid",
            Some("id"),
        ),
        bad(
            "PUT",
            "/v1/services/Web/upstreams/b:1",
            "",
            422,
            "invalid",
            Some("service"),
        ),
        bad("PUT", "/v1/services/absent/upstreams/b:1", "", 404, "not-found", None),
        bad("GET", "/v1/services/absent", "", 404, "not-found", None),
        bad("GET", "/v1/services/absent/upstreams", "", 404, "not-found", None),
        bad("GET", "/v1/services/web/upstreams/b:1", "", 404, "not-found", None),
        bad("GET", "/v1/fleet/absent", "", 404, "not-found", None),
        bad("GET", "/v1/revisions/999", "", 404, "not-found", None),
        bad("GET", "/v1/revisions/0", "", 422, "invalid", Some("revision")),
        bad("GET", "/v1/revisions/x", "", 422, "invalid", Some("revision")),
        bad("GET", "/v1/upstreams", "", 422, "invalid", Some("address")),
        bad("GET", "/v1/upstreams?address=x", "", 422, "invalid", Some("address")),
        bad(
            "DELETE",
            "/v1/upstreams?address=127.0.0.1",
            "",
            422,
            "invalid",
            Some("address"),
        ),
        bad("DELETE", "/v1/upstreams", "", 422, "invalid", Some("address")),
    ]
}

fn holds() -> Vec<Bad> {
    let hold = |path: &str, body: &str, status, kind, field| {
        let path = format!("/v1/services/{path}");
        bad("POST", &path, body, status, kind, field)
    };
    vec![
        hold("web/hold", "{", 400, "malformed", None),
        hold(
            "web/hold",
            r#"{"max": "1s", "max": "2s"}"#,
            400,
            "malformed",
            Some("max"),
        ),
        hold("web/hold", "[]", 422, "invalid", None),
        hold("web/hold", r#"{"max": "999ms"}"#, 422, "invalid", Some("max")),
        hold("web/hold", r#"{"max": "601s"}"#, 422, "invalid", Some("max")),
        hold("web/hold", r#"{"max": "-1s"}"#, 422, "invalid", Some("max")),
        hold("web/hold", r#"{"max": 30}"#, 422, "invalid", Some("max")),
        hold("web/hold", r#"{"max": null}"#, 422, "invalid", Some("max")),
        hold("web/hold", r#"{"for": "30s"}"#, 422, "invalid", Some("for")),
        hold("web/hold", r#"{"service": "api"}"#, 422, "invalid", Some("service")),
        hold("web/hold", r#"{"revision": 1}"#, 422, "invalid", Some("revision")),
        hold("web/hold?max=30s", "", 400, "malformed", Some("max")),
        hold("web/hold?timeout=601s", "", 422, "invalid", Some("timeout")),
        hold("Web/hold", "", 422, "invalid", Some("service")),
        hold("absent/hold", "{}", 404, "not-found", None),
        hold("web/resume", r#"{"max": "30s"}"#, 422, "invalid", Some("max")),
        hold("web/resume", "[]", 422, "invalid", None),
        hold("Web/resume", "", 422, "invalid", Some("service")),
        hold("absent/resume", "", 404, "not-found", None),
        bad("GET", "/v1/services/web/hold", "", 404, "not-found", None),
        bad("GET", "/v1/services/web/hold?x", "", 400, "malformed", Some("x")),
        bad("DELETE", "/v1/services/web/hold", "", 405, "method-not-allowed", None),
        bad("GET", "/v1/services/web/resume", "", 405, "method-not-allowed", None),
    ]
}

fn queries() -> Vec<Bad> {
    let delete =
        |query: &str, status, kind, field| bad("DELETE", &format!("{UPSTREAM}{query}"), "", status, kind, field);
    vec![
        delete("?wiat=none", 400, "malformed", Some("wiat")),
        delete("?wait=none&wait=none", 400, "malformed", Some("wait")),
        delete("?timeout=%FF", 400, "malformed", None),
        delete("?wait=", 422, "invalid", Some("wait")),
        delete("?wait=soon", 422, "invalid", Some("wait")),
        delete("?timeout=5", 422, "invalid", Some("timeout")),
        delete("?timeout=601s", 422, "invalid", Some("timeout")),
        bad("GET", &format!("{SERVICE}?x"), "", 400, "malformed", Some("x")),
        bad("GET", "/v1/services?limit=0", "", 422, "invalid", Some("limit")),
        bad("GET", "/v1/services?limit=1001", "", 422, "invalid", Some("limit")),
        bad("GET", "/v1/services?limit=+1", "", 422, "invalid", Some("limit")),
        bad("GET", "/v1/services?cursor=", "", 422, "invalid", Some("cursor")),
        bad("GET", "/v1/services?cursor=web", "", 422, "invalid", Some("cursor")),
        bad("GET", "/v1/services?cursor=776562", "", 422, "invalid", Some("cursor")),
        bad(
            "GET",
            "/v1/services/web/upstreams?cursor=a",
            "",
            422,
            "invalid",
            Some("cursor"),
        ),
        bad(
            "GET",
            "/v1/upstreams?address=127.0.0.1:3000&cursor=a",
            "",
            422,
            "invalid",
            Some("cursor"),
        ),
        bad("GET", "/v1/fleet?cursor=edge-1", "", 422, "invalid", Some("cursor")),
        bad("GET", "/v1/revisions?since=-1", "", 422, "invalid", Some("since")),
        bad("GET", "/v1/revisions?op_id=1", "", 422, "invalid", Some("op_id")),
        bad("GET", "/v1/watch?since=999", "", 422, "invalid", Some("since")),
    ]
}

fn framing() -> Vec<Bad> {
    let condition = |method, path: &str, headers, name| Bad {
        headers,
        ..bad(method, path, "", 422, "invalid", Some(name))
    };
    let body = r#"{"match": []}"#;
    let put = |headers, status, kind| Bad {
        headers,
        ..bad("PUT", SERVICE, body, status, kind, None)
    };
    vec![
        put("", 415, "unsupported-media-type"),
        put("content-type: text/plain", 415, "unsupported-media-type"),
        put(
            "content-type: application/merge-patch+json",
            415,
            "unsupported-media-type",
        ),
        put(
            "content-type: application/json\ncontent-type: text/plain",
            415,
            "unsupported-media-type",
        ),
        put("content-type: application/json\nif-match: 7", 400, "malformed"),
        put("content-type: application/json\nif-match: \"7", 400, "malformed"),
        bad("DELETE", SERVICE, "{}", 400, "malformed", None),
        condition(
            "DELETE",
            "/v1/upstreams?address=127.0.0.1:3000",
            "if-match: \"2\"",
            "If-Match",
        ),
        condition(
            "DELETE",
            "/v1/upstreams?address=127.0.0.1:3000",
            "if-none-match: *",
            "If-None-Match",
        ),
        condition("DELETE", "/v1/upstreams?address=127.0.0.1:9", "if-match: *", "If-Match"),
        condition("DELETE", "/v1/fleet/absent", "if-match: *", "If-Match"),
        condition("POST", "/v1/fleet/succeed", "if-none-match: *", "If-None-Match"),
        bad(
            "PUT",
            SERVICE,
            &format!("{{\"match\": [], \"x\": \"{}\"}}", "x".repeat(1 << 20)),
            413,
            "too-large",
            None,
        ),
    ]
}

#[tokio::test]
async fn bad_input_is_told_and_changes_nothing() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:3000"]).await;
    plane.with("taken", &[]).await;
    let before = plane.get("/v1/revisions").await.expect(200).json;
    for bad in [documents(), addresses(), holds(), queries(), framing()]
        .into_iter()
        .flatten()
    {
        let (status, kind, field) = bad.expected;
        let reply = plane.send(bad.method, &bad.path, bad.headers, &bad.body).await;
        let shown: String = bad.body.chars().take(80).collect();
        println!("{} {} {shown}: {}", bad.method, bad.path, reply.text.trim());
        let reply = reply.expect_problem(status, kind);
        if let Some(field) = field {
            assert_eq!(reply.fields().first(), Some(&field), "{}", reply.text);
        }
    }
    assert_eq!(plane.get("/v1/revisions").await.expect(200).json, before);
    assert_eq!(plane.get(SERVICE).await.json["revision"], 1);
}

#[tokio::test]
async fn a_conflict_names_the_other_service() {
    let plane = Plane::start().await;
    plane.with("taken", &[]).await;
    let body = json!({"match": [{"hosts": ["x"]}, {"hosts": ["taken.example.com"]}]}).to_string();
    let reply = plane
        .put("/v1/services/web", &body)
        .await
        .expect_problem(409, "conflict");
    assert_eq!(
        (reply.fields(), &reply.json["with"]),
        (vec!["match[1]"], &json!("taken"))
    );
    assert!(reply.json["detail"].as_str().unwrap().contains("taken"));
}

#[tokio::test]
async fn a_body_of_no_announced_length_has_the_same_limit() {
    let plane = Plane::start().await;
    let chunk = "x".repeat(64 << 10);
    let mut request = format!(
        "PUT /v1/services/web HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        plane.admin
    );
    for _ in 0..17 {
        request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    request.push_str("0\r\n\r\n");
    let answer = crate::framework::raw(&plane, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("urn:vulcan:too-large"), "{answer}");
}

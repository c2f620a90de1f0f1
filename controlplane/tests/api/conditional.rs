use serde_json::json;

use crate::plane::{Plane, Reply};

const WEB: &str = "/v1/services/web";
const BODY: &str = r#"{"match": [{"hosts": ["web.example.com"]}]}"#;

async fn put(plane: &Plane, condition: &str, body: &str) -> Reply {
    plane
        .send(
            "PUT",
            WEB,
            &format!("content-type: application/json\n{condition}"),
            body,
        )
        .await
}

#[tokio::test]
async fn writes_are_bound_to_the_state_they_were_made_for() {
    let plane = Plane::start().await;
    for absent in ["if-match: *", "if-match: \"1\""] {
        let reply = put(&plane, absent, BODY)
            .await
            .expect_problem(412, "precondition-failed");
        assert_eq!(reply.json["current"], json!(null));
        let reply = plane
            .send("DELETE", WEB, absent, "")
            .await
            .expect_problem(412, "precondition-failed");
        assert_eq!(reply.json["current"], json!(null));
        let patch = plane
            .send("PATCH", WEB, &format!("content-type: application/json\n{absent}"), "{}")
            .await;
        patch.expect_problem(412, "precondition-failed");
    }
    assert_eq!(plane.head().await, 0);

    let created = put(&plane, "if-none-match: *", BODY).await.expect(200);
    assert_eq!(
        (created.revision(), created.headers["etag"].to_str().unwrap()),
        (1, "\"1\"")
    );
    let again = put(&plane, "if-none-match: *", BODY)
        .await
        .expect_problem(412, "precondition-failed");
    assert_eq!(again.json["current"]["match"][0]["hosts"], json!(["web.example.com"]));
    assert_eq!(
        (
            &again.json["current"]["revision"],
            again.headers["etag"].to_str().unwrap()
        ),
        (&json!(1), "\"1\"")
    );

    let changed = r#"{"match": []}"#;
    for failing in ["if-match: W/\"1\"", "if-match: \"2\", \"3\"", "if-none-match: \"1\""] {
        put(&plane, failing, changed)
            .await
            .expect_problem(412, "precondition-failed");
    }
    assert_eq!(plane.head().await, 1);
    assert_eq!(
        put(&plane, "if-match: \"7\", \"1\"", changed)
            .await
            .expect(200)
            .revision(),
        2
    );
    put(&plane, "if-match: \"1\"", changed)
        .await
        .expect_problem(412, "precondition-failed");
    assert_eq!(put(&plane, "if-match: *", changed).await.expect(200).revision(), 2);

    plane
        .send("DELETE", WEB, "if-match: \"1\"", "")
        .await
        .expect_problem(412, "precondition-failed");
    plane.send("DELETE", WEB, "if-match: \"2\"", "").await.expect(200);
    plane
        .send("DELETE", WEB, "if-match: \"2\"", "")
        .await
        .expect_problem(412, "precondition-failed");
}

#[tokio::test]
async fn reads_can_be_conditional_too() {
    let plane = Plane::start().await;
    put(&plane, "if-none-match: *", BODY).await.expect(200);
    let reply = plane.send("GET", WEB, "if-none-match: \"1\"", "").await.expect(304);
    assert_eq!((reply.headers["etag"].to_str().unwrap(), &*reply.text), ("\"1\"", ""));
    plane.send("GET", WEB, "if-none-match: \"2\"", "").await.expect(200);
    plane
        .send("GET", WEB, "if-match: \"2\"", "")
        .await
        .expect_problem(412, "precondition-failed");
}

#[tokio::test]
async fn of_two_writers_with_one_state_one_wins() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    let path = "/v1/services/web/upstreams/127.0.0.1:1";
    let headers = "content-type: application/json\nif-match: \"2\"";
    let writes: Vec<_> = (10..20).map(|weight| json!({ "weight": weight }).to_string()).collect();
    let replies =
        futures_util::future::join_all(writes.iter().map(|body| plane.send("PUT", path, headers, body))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 9]].concat());
    assert_eq!(plane.head().await, 3);
}

#[tokio::test]
async fn what_get_shows_can_be_put_back() {
    let plane = Plane::start().await;
    plane.with("web", &["[::1]:3000"]).await;
    for path in [
        WEB,
        "/v1/services/web/upstreams/[::1]:3000",
        "/v1/services/web/upstreams/%5B::1%5D%3A3000",
    ] {
        let shown = plane.get(path).await.expect(200);
        let reply = plane.put(path, &shown.text).await.expect(200);
        assert_eq!(reply.revision(), 2, "it changed nothing");
        assert_eq!(plane.get(path).await.text, shown.text);
    }
    let upstream = plane.get("/v1/services/web/upstreams/[::1]:3000").await.json;
    let expected = json!({"id": "[::1]:3000", "service": "web", "revision": 2, "address": "[::1]:3000", "weight": 1,
        "state": "active", "ttl": null});
    assert_eq!(upstream, expected);
}

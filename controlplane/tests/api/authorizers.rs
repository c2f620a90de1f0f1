use serde_json::json;

use crate::plane::Plane;

const MAIN: &str = "/v1/authorizers/main";

/// A service `auth`, and an authorizer `main` that asks it.
async fn plane() -> Plane {
    let plane = Plane::start().await;
    plane.with("auth", &["127.0.0.1:1"]).await;
    plane.put(MAIN, r#"{"service": "auth"}"#).await.expect(200);
    plane
}

#[tokio::test]
async fn an_authorizer_is_written_and_shown_like_any_object() {
    let plane = plane().await;
    let shown = plane.get(MAIN).await.expect(200);
    assert_eq!(
        (&shown.json["name"], &shown.json["revision"], &shown.json["timeout"]),
        (&json!("main"), &json!(3), &json!("500ms"))
    );
    assert_eq!(shown.headers["etag"], "\"3\"");

    let again = plane.put(MAIN, &shown.json.to_string()).await.expect(200);
    assert_eq!((again.revision(), &again.json["wait"]["for"]), (3, &json!("applied")));
    let changed = plane.patch(MAIN, r#"{"cache": {"ttl": "5m"}}"#).await.expect(200);
    assert_eq!(
        (changed.revision(), &changed.headers["etag"]),
        (4, &"\"4\"".parse().unwrap())
    );
    let stale = plane.send(
        "PUT",
        MAIN,
        "if-match: \"3\"\r\ncontent-type: application/json",
        "{\"service\":\"auth\"}",
    );
    let stale = stale.await.expect_problem(412, "precondition-failed");
    assert_eq!(stale.json["current"]["cache"]["ttl"], "5m");

    plane
        .put("/v1/authorizers/a", r#"{"service": "auth"}"#)
        .await
        .expect(200);
    let page = plane.get("/v1/authorizers?limit=1").await.expect(200).json;
    assert_eq!(page["items"][0]["name"], "a");
    let next = format!("/v1/authorizers?cursor={}", page["next"].as_str().unwrap());
    let page = plane.get(&next).await.expect(200).json;
    assert_eq!(
        (&page["items"][0]["name"], &page["next"]),
        (&json!("main"), &json!(null))
    );

    plane.delete(MAIN).await.expect(200);
    plane.get(MAIN).await.expect_problem(404, "not-found");
    assert_eq!(
        plane.delete(MAIN).await.expect(200).revision(),
        6,
        "again, and waits again"
    );
}

#[tokio::test]
async fn what_names_another_needs_it() {
    let plane = plane().await;
    for (path, body, field) in [
        ("/v1/authorizers/x", r#"{"service": "none"}"#, "service"),
        (
            "/v1/services/web",
            r#"{"match": [], "authorizer": "none"}"#,
            "authorizer",
        ),
    ] {
        let refused = plane.put(path, body).await.expect_problem(422, "invalid");
        assert_eq!(refused.fields(), [field]);
    }
    let web = r#"{"match": [{}], "authorizer": "main"}"#;
    plane.put("/v1/services/web", web).await.expect(200);
    let patched = plane.patch("/v1/services/web", r#"{"authorizer": "none"}"#).await;
    patched.expect_problem(422, "invalid");

    let used = plane.delete(MAIN).await.expect_problem(409, "conflict");
    assert_eq!(used.json["with"], "service/web");
    let used = plane.delete("/v1/services/auth").await.expect_problem(409, "conflict");
    assert_eq!(used.json["with"], "authorizer/main");

    plane
        .patch("/v1/services/web", r#"{"authorizer": null}"#)
        .await
        .expect(200);
    assert_eq!(plane.get("/v1/services/web").await.json["authorizer"], json!(null));
    plane.delete(MAIN).await.expect(200);
    plane.delete("/v1/services/auth").await.expect(200);
}

#[tokio::test]
async fn a_revocation_is_a_revision_without_the_token() {
    let plane = plane().await;
    let revoke = format!("{MAIN}/revoke");
    for (revision, body) in [
        (4, r#"{"auth_token": "secret"}"#),
        (5, r#"{"auth_token": "secret"}"#),
        (6, "{}"),
    ] {
        let json = "content-type: application/json";
        let reply = plane.send("POST", &revoke, json, body).await.expect(200);
        assert_eq!(
            (reply.revision(), &reply.json["wait"]["for"]),
            (revision, &json!("applied"))
        );
    }
    plane.send("POST", &revoke, "", "").await.expect(200);
    let op = plane.get("/v1/revisions/4").await.expect(200).json["ops"][0].clone();
    assert_eq!((&op["kind"], &op["key"]), (&json!("revocation"), &json!("main")));
    assert!(!op.to_string().contains("secret"), "{op}");
    let next = plane.get("/v1/revisions/5").await.expect(200).json["ops"][0].clone();
    assert!(op["before"].is_null());
    let replaced = json!({"body": op["body"], "revision": 4});
    assert_eq!(
        next["before"], replaced,
        "or a plane that starts again would not know what was there"
    );
    assert_eq!(plane.get(MAIN).await.json["revision"], 3, "the authorizer is as it was");

    for (path, body, status, kind) in [
        (&*revoke, r#"{"user": "bob"}"#, 422, "invalid"),
        (&*revoke, r#"{"username": "bob", "auth_token": "x"}"#, 422, "invalid"),
        ("/v1/authorizers/none/revoke", "{}", 404, "not-found"),
    ] {
        let reply = plane.send("POST", path, "content-type: application/json", body).await;
        reply.expect_problem(status, kind);
    }
    plane.delete(MAIN).await.expect(200);
    let ops = plane.get("/v1/revisions/8").await.expect(200).json["ops"].clone();
    let kinds: Vec<_> = ops.as_array().unwrap().iter().map(|op| op["kind"].clone()).collect();
    assert_eq!(kinds, ["revocation", "authorizer"], "its last revocation goes with it");
}

#[tokio::test]
async fn a_plane_that_starts_again_has_them() {
    let plane = plane().await;
    let web = r#"{"match": [{}], "authorizer": "main"}"#;
    plane.put("/v1/services/web", web).await.expect(200);
    let plane = plane.restart().await;
    assert_eq!(plane.get(MAIN).await.expect(200).json["service"], "auth");
    plane.delete(MAIN).await.expect_problem(409, "conflict");
    let headers = "accept: application/json";
    let whole = plane.send("GET", "/v1/snapshot", headers, "").await.expect(200).json;
    assert_eq!(whole["authorizers"], json!({"main": {"service": "auth"}}));
}

//! What begins a new registration and what keeps one, as the log says; and what a write waits for.

use serde_json::{Value, json};

use crate::plane::Plane;

const A: &str = "/v1/services/web/upstreams/a";

async fn last_op(plane: &Plane) -> Value {
    let head = plane.head().await;
    plane.get(&format!("/v1/revisions/{head}")).await.expect(200).json["ops"][0].clone()
}

async fn put(plane: &Plane, body: Value) -> (u64, Value) {
    let reply = plane.put(A, &body.to_string()).await.expect(200);
    (reply.revision(), reply.json["wait"]["for"].clone())
}

#[tokio::test]
async fn registrations_begin_and_go_on() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    assert_eq!(
        put(&plane, json!({"address": "127.0.0.1:1"})).await,
        (2, json!("applied"))
    );
    assert_eq!(last_op(&plane).await["registration"], Value::Null, "its own revision");

    assert_eq!(
        put(&plane, json!({"address": "127.0.0.1:1", "weight": 5})).await,
        (3, json!("applied"))
    );
    let op = last_op(&plane).await;
    assert_eq!(op["registration"], 2);
    let before = json!({"body": {"address": "127.0.0.1:1"}, "revision": 2, "registration": 2});
    assert_eq!(op["before"], before);

    assert_eq!(
        put(&plane, json!({"address": "127.0.0.1:2", "weight": 5})).await,
        (4, json!("drained"))
    );
    assert_eq!(last_op(&plane).await["registration"], Value::Null, "another address");

    let draining = json!({"address": "127.0.0.1:2", "weight": 5, "state": "draining"});
    assert_eq!(put(&plane, draining.clone()).await, (5, json!("drained")));
    assert_eq!(last_op(&plane).await["registration"], 4, "it drains as what it was");
    assert_eq!(put(&plane, draining).await, (5, json!("drained")), "again");

    let active = json!({"address": "127.0.0.1:2", "weight": 5});
    assert_eq!(put(&plane, active.clone()).await, (6, json!("drained")));
    assert_eq!(last_op(&plane).await["registration"], Value::Null, "active again");
    assert_eq!(
        put(&plane, active.clone()).await,
        (6, json!("drained")),
        "an identical PUT waits for the same again"
    );

    let deleted = plane.delete(A).await.expect(200);
    assert_eq!(
        (deleted.revision(), &deleted.json["wait"]["for"]),
        (7, &json!("drained"))
    );
    assert_eq!(put(&plane, active).await, (8, json!("applied")));
    assert_eq!(last_op(&plane).await["before"], Value::Null);
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let plane = Plane::start().await;
    plane.with("web", &[]).await;
    put(&plane, json!({"address": "127.0.0.1:1", "weight": 5})).await;
    let merge = "content-type: application/merge-patch+json";
    plane.send("PATCH", A, merge, r#"{"weight": null}"#).await.expect(200);
    assert_eq!(plane.get(A).await.json["weight"], 1);
    let reply = plane.patch(A, r#"{"state": "draining"}"#).await.expect(200);
    assert_eq!(reply.json["wait"]["for"], "drained");
    assert_eq!(
        plane.patch(A, "{}").await.expect(200).revision(),
        4,
        "nothing was changed"
    );

    // Null takes away what is known, whether it is there or not.
    for nulls in [r#"{"weight": null, "ttl": null}"#, r#"{"state": null}"#] {
        plane.patch(A, nulls).await.expect(200);
    }
    assert_eq!(plane.get(A).await.json["state"], "active");
    let nulls = r#"{"balance": null, "authorizer": null, "timeouts": {"idle": null}, "retries": null}"#;
    plane.patch("/v1/services/web", nulls).await.expect(200);

    let timeouts = |response: &str| json!({"timeouts": {"response": response}}).to_string();
    plane.patch("/v1/services/web", &timeouts("90s")).await.expect(200);
    let shown = plane.get("/v1/services/web").await.json;
    assert_eq!(
        shown["timeouts"],
        json!({"connect": "1s", "response": "90s", "idle": "60s", "drain": "90s"})
    );
    plane.patch("/v1/services/web", &timeouts("10s")).await.expect(200);
    let shown = plane.get("/v1/services/web").await.json;
    assert_eq!(shown["timeouts"]["drain"], "30s", "a default stays one");
}

#[tokio::test]
async fn what_is_absent_is_deleted_again_and_waits_again() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    plane.delete("/v1/services/web/upstreams/127.0.0.1:1").await.expect(200);
    for path in [
        "/v1/services/web/upstreams/127.0.0.1:1",
        "/v1/services/absent/upstreams/127.0.0.1:1",
        "/v1/services/absent",
        "/v1/upstreams?address=127.0.0.1:1",
    ] {
        let reply = plane.delete(path).await.expect(200);
        assert_eq!(
            (reply.revision(), &reply.json["committed"]),
            (3, &json!(true)),
            "{path}"
        );
        assert_eq!(
            (&reply.json["wait"]["for"], &reply.json["wait"]["reached"]),
            (&json!("drained"), &json!(true))
        );
    }
}

#[tokio::test]
async fn a_service_takes_its_upstreams_along() {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1", "127.0.0.1:2"]).await;
    plane.with("web-2", &["127.0.0.1:1"]).await;
    let reply = plane.delete("/v1/services/web").await.expect(200);
    assert_eq!(
        (&reply.json["wait"]["for"], &reply.json["also_in"]),
        (&json!("drained"), &json!(["web-2/127.0.0.1:1"]))
    );
    let commit = plane.get("/v1/revisions/6").await.expect(200).json;
    let keys: Vec<_> = commit["ops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|op| op["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["web/127.0.0.1:1", "web/127.0.0.1:2", "web"]);
    assert_eq!(commit["fleet"]["members"], 0);
    plane
        .get("/v1/services/web/upstreams")
        .await
        .expect_problem(404, "not-found");
    let left = plane.get("/v1/services").await.json;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_leaves_everywhere_in_one_revision() {
    let plane = Plane::start().await;
    for service in ["api", "web"] {
        plane.with(service, &["127.0.0.1:1", "127.0.0.1:2"]).await;
    }
    plane
        .put("/v1/services/web/upstreams/b", r#"{"address": "127.0.0.1:1"}"#)
        .await
        .expect(200);
    plane
        .put(
            "/v1/services/web/upstreams/c",
            r#"{"address": "127.0.0.1:1", "state": "draining"}"#,
        )
        .await
        .expect(200);

    let listed = plane.get("/v1/upstreams?address=127.0.0.1%3A1").await.expect(200).json;
    let ids: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["127.0.0.1:1", "127.0.0.1:1", "b", "c"]);

    let reply = plane.delete("/v1/services/web/upstreams/127.0.0.1:1").await.expect(200);
    let elsewhere = json!(["api/127.0.0.1:1", "web/b"]);
    assert_eq!(
        reply.json["also_in"], elsewhere,
        "active ones, the same service included"
    );
    let again = plane.delete("/v1/services/web/upstreams/127.0.0.1:1").await.expect(200);
    assert_eq!(again.json["also_in"], elsewhere);

    let head = plane.head().await;
    let left = plane.delete("/v1/upstreams?address=127.0.0.1:1").await.expect(200);
    assert_eq!((left.revision(), &left.json["also_in"]), (head + 1, &json!([])));
    let listed = plane.get("/v1/upstreams?address=127.0.0.1:1").await.expect(200).json;
    assert_eq!(listed, json!({"items": [], "next": null}));
    plane.get("/v1/services/web/upstreams/127.0.0.1:2").await.expect(200);
}

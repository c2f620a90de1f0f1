use serde_json::json;

use crate::plane::{Plane, Reply};

const ID: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";

fn path(id: &str) -> String {
    format!("/v1/limits/{id}")
}

#[tokio::test]
async fn a_limit_is_written_and_shown_like_any_object() {
    let plane = Plane::start().await;
    let one = path(ID);
    let written = plane.put(&one, r#"{"threshold": 100}"#).await.expect(200);
    assert_eq!(
        (
            written.revision(),
            &written.json["wait"]["for"],
            &written.headers["etag"]
        ),
        (1, &json!("applied"), &"\"1\"".parse().unwrap())
    );
    let shown = plane.get(&one).await.expect(200);
    assert_eq!(
        shown.json,
        json!({
            "id": ID, "revision": 1, "auth_token": ".*", "protocol": ".*", "method": ".*", "path": ".*", "data_size": 0,
            "period": 60, "threshold": 100, "service": null, "algorithm": "sliding", "on_unreachable": "share",
            "mode": "enforce", "override": false, "key": "auth_token", "cost": 1, "delay_max": "0s",
            "concurrent": null
        })
    );
    let again = plane.put(&one, &shown.json.to_string()).await.expect(200);
    assert_eq!(again.revision(), 1, "it says nothing new");
    let upper = plane.get(&path(&ID.to_uppercase())).await.expect(200);
    assert_eq!(upper.json["id"], ID, "the same limit");

    let changed = plane.patch(&one, r#"{"auth_token": "alice", "period": 10}"#).await;
    assert_eq!(changed.expect(200).revision(), 2);
    let stale = plane.send("DELETE", &one, "if-match: \"1\"", "").await;
    let stale = stale.expect_problem(412, "precondition-failed");
    assert_eq!(stale.json["current"]["auth_token"], "alice");
    let only_new = "if-none-match: *\r\ncontent-type: application/json";
    let exists = plane.send("PUT", &one, only_new, r#"{"threshold": 1}"#).await;
    exists.expect_problem(412, "precondition-failed");

    let op = plane.get("/v1/revisions/2").await.expect(200).json["ops"][0].clone();
    assert_eq!(
        (&op["verb"], &op["kind"], &op["key"]),
        (&json!("put"), &json!("limit"), &json!(ID))
    );
    assert_eq!(
        (&op["body"], &op["before"]["body"]),
        (
            &json!({"auth_token": "alice", "period": 10, "threshold": 100}),
            &json!({"threshold": 100})
        )
    );

    plane.delete(&one).await.expect(200);
    plane.get(&one).await.expect_problem(404, "not-found");
    plane
        .patch(&one, r#"{"period": 1}"#)
        .await
        .expect_problem(404, "not-found");
    assert_eq!(
        plane.delete(&one).await.expect(200).revision(),
        3,
        "again, and waits again"
    );
}

#[tokio::test]
async fn limits_are_listed_a_page_at_a_time_in_order() {
    let plane = Plane::start().await;
    let ids = [3, 1, 2].map(|n| format!("00000000-0000-4000-8000-00000000000{n}"));
    for id in &ids {
        plane.put(&path(id), r#"{"threshold": 1}"#).await.expect(200);
    }
    // Another kind stands behind them.
    plane.with("web", &[]).await;
    let mut found = Vec::new();
    let mut next = json!("");
    while let Some(cursor) = next.as_str() {
        let at = match cursor {
            "" => "/v1/limits?limit=2".to_owned(),
            cursor => format!("/v1/limits?limit=2&cursor={cursor}"),
        };
        let page = plane.get(&at).await.expect(200).json;
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        next = page["next"].clone();
    }
    assert_eq!(found, [1, 2, 0].map(|n| json!(ids[n])));
    let foreign = plane.get("/v1/services?limit=1").await.json["next"].clone();
    assert_eq!(foreign, json!(null));
}

#[tokio::test]
async fn what_is_no_limit_is_refused_with_its_field() {
    let plane = Plane::start().await;
    let one = path(ID);
    for (at, body, status, kind, field) in [
        (&*one, "{}", 422, "invalid", Some("threshold")),
        (&one, r#"{"threshold": 1, "path": "("}"#, 422, "invalid", Some("path")),
        (
            &one,
            r#"{"threshold": 1, "method": "(\\w{9}){999}"}"#,
            422,
            "invalid",
            Some("method"),
        ),
        (&one, r#"{"threshold": 1, "burst": 2}"#, 422, "invalid", Some("burst")),
        (&one, r#"{"threshold": 1, "cost": 2}"#, 422, "invalid", Some("cost")),
        (
            &one,
            r#"{"threshold": 1, "delay_max": "2h"}"#,
            422,
            "invalid",
            Some("delay_max"),
        ),
        (
            &one,
            r#"{"threshold": 1, "concurrent": 0}"#,
            422,
            "invalid",
            Some("concurrent"),
        ),
        (&one, r#"{"threshold": 1, "id": "x"}"#, 422, "invalid", Some("id")),
        (
            &one,
            r#"{"threshold": 1, "threshold": 2}"#,
            400,
            "malformed",
            Some("threshold"),
        ),
        ("/v1/limits/web", r#"{"threshold": 1}"#, 422, "invalid", Some("id")),
        (
            "/v1/limits/5b1f7c0e7d1a4f3e9a530c1d2e3f4a5b",
            r#"{"threshold": 1}"#,
            422,
            "invalid",
            Some("id"),
        ),
    ] {
        let reply = plane.put(at, body).await.expect_problem(status, kind);
        assert_eq!(reply.fields().first().copied(), field, "{body}");
    }
    assert_eq!(plane.head().await, 0, "nothing was stored");
    plane
        .get(&format!("{one}/usage?key="))
        .await
        .expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_limit_outlives_the_service_that_it_names() {
    let plane = Plane::start().await;
    let one = path(ID);
    let of_web = r#"{"threshold": 1, "service": "web"}"#;
    plane.put(&one, of_web).await.expect(200);
    plane.with("web", &["127.0.0.1:1"]).await;
    plane.delete("/v1/services/web").await.expect(200);
    assert_eq!(plane.get(&one).await.expect(200).json["service"], "web");
    let again = plane.put(&one, of_web).await.expect(200);
    assert_eq!(again.revision(), plane.head().await);
}

#[tokio::test]
async fn a_plane_that_starts_again_has_its_limits() {
    let plane = Plane::start().await;
    let one = path(ID);
    plane
        .put(&one, r#"{"threshold": 5, "data_size": "10MB"}"#)
        .await
        .expect(200);
    let plane = plane.restart().await;
    assert_eq!(plane.get(&one).await.expect(200).json["data_size"], "10MB");
    let whole = plane.send("GET", "/v1/snapshot", "accept: application/json", "");
    assert_eq!(
        whole.await.expect(200).json["limits"],
        json!({ID: {"threshold": 5, "data_size": "10MB"}})
    );
}

/// Once somebody counts for the account: of a new limit that takes a moment, on a busy machine again and again.
async fn once_counted(ask: impl AsyncFn() -> Reply) -> Reply {
    loop {
        let reply = ask().await;
        if reply.status != 503 {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_count_is_shown_and_set_back() {
    let plane = Plane::start().await;
    let one = path(ID);
    let usage = |query: &str| format!("{one}/usage{query}");
    for algorithm in ["sliding", "fixed"] {
        for period in [60, 3_600] {
            let body = format!(r#"{{"threshold": 5, "period": {period}, "algorithm": "{algorithm}"}}"#);
            plane.put(&one, &body).await.expect(200);
            let of_alice = usage("?key=alice%40example.com");
            let shown = once_counted(async || plane.get(&of_alice).await).await.expect(200).json;
            assert_eq!(
                (&shown["limit"], &shown["key"]),
                (&json!(ID), &json!("alice@example.com"))
            );
            let window = &shown["window"];
            assert_eq!((&window["admitted"], &window["refused"]), (&json!(0), &json!(null)));
            assert!(window["from"].as_str() < window["to"].as_str(), "{window}");
            assert_eq!(shown["previous"].is_null(), algorithm == "sliding", "{shown}");
            let of_nobody = usage("?key=");
            let reset = once_counted(async || plane.delete(&of_nobody).await)
                .await
                .expect(200)
                .json;
            assert_eq!(
                reset,
                json!({"limit": ID, "key": "", "reset": true, "fleet": {"reached": 0, "members": 0}})
            );
        }
    }
    let keyless = plane.get(&usage("")).await.expect_problem(422, "invalid");
    assert_eq!(keyless.fields(), ["key"]);
    plane.get(&usage("?key=a&k=b")).await.expect_problem(400, "malformed");
    plane
        .put(&one, r#"{"threshold": 5, "mode": "observe"}"#)
        .await
        .expect(200);
    let of_nobody = usage("?key=");
    let observed = once_counted(async || plane.get(&of_nobody).await).await.expect(200);
    let window = observed.json["window"].clone();
    let counts = ["admitted", "refused", "would_refuse"].map(|count| &window[count]);
    assert_eq!(counts, [&json!(0); 3], "{window}");
    once_counted(async || plane.delete(&of_nobody).await).await.expect(200);
    plane.delete(&one).await.expect(200);
    plane.delete(&usage("?key=")).await.expect_problem(404, "not-found");
    assert_eq!(plane.head().await, 6, "no count is in the log");
}

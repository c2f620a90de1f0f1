use serde_json::json;

use crate::plane::Plane;

const HOLD: &str = "/v1/services/web/hold";
const RESUME: &str = "/v1/services/web/resume";

async fn plane() -> Plane {
    let plane = Plane::start().await;
    plane.with("web", &["127.0.0.1:1"]).await;
    plane
}

#[tokio::test]
async fn a_hold_is_written_shown_renewed_and_ended() {
    let plane = plane().await;
    plane.get(HOLD).await.expect_problem(404, "not-found");
    let held = plane.post(HOLD, r#"{"max": "45s"}"#).await.expect(200);
    let wait = &held.json["wait"];
    assert_eq!(
        (held.revision(), &wait["for"], &wait["reached"]),
        (3, &json!("drained"), &json!(true))
    );
    assert_eq!(held.headers["etag"], "\"3\"");
    let shown = plane.get(HOLD).await.expect(200);
    assert_eq!(shown.json, json!({"service": "web", "max": "45s", "revision": 3}));
    assert_eq!(shown.headers["etag"], "\"3\"");

    // What GET shows may be sent back; the same again is another hold.
    assert_eq!(
        plane.post(HOLD, &shown.json.to_string()).await.expect(200).revision(),
        4
    );
    assert_eq!(plane.post(HOLD, "").await.expect(200).revision(), 5);
    assert_eq!(plane.get(HOLD).await.expect(200).json["max"], "30s");

    let resumed = plane.post(RESUME, "").await.expect(200);
    assert_eq!(
        (resumed.revision(), &resumed.json["wait"]["for"]),
        (6, &json!("applied"))
    );
    plane.get(HOLD).await.expect_problem(404, "not-found");
    let again = plane.post(RESUME, "{}").await.expect(200);
    assert_eq!(
        (again.revision(), &again.json["wait"]["reached"]),
        (6, &json!(true)),
        "nothing to end"
    );

    let history = plane.get("/v1/revisions/6").await.expect(200).json;
    let op = json!({"verb": "delete", "kind": "hold", "key": "web"});
    assert_eq!(history["ops"][0]["before"]["body"], json!({"max": "30s"}));
    for (member, value) in op.as_object().unwrap() {
        assert_eq!(history["ops"][0][member], *value);
    }
}

#[tokio::test]
async fn conditions_are_about_the_hold() {
    let plane = plane().await;
    let with = |condition: &'static str, path: &'static str| plane.send("POST", path, condition, "");
    with("if-match: *", HOLD)
        .await
        .expect_problem(412, "precondition-failed");
    with("if-none-match: *", HOLD).await.expect(200);
    let refused = with("if-none-match: *", HOLD)
        .await
        .expect_problem(412, "precondition-failed");
    assert_eq!(
        refused.json["current"],
        json!({"service": "web", "max": "30s", "revision": 3})
    );
    with("if-match: \"2\"", RESUME)
        .await
        .expect_problem(412, "precondition-failed");
    with("if-match: \"3\"", RESUME).await.expect(200);
    let ahead = plane
        .post(HOLD, r#"{"revision": 3}"#)
        .await
        .expect_problem(422, "invalid");
    assert_eq!(ahead.json["errors"][0]["field"], "revision");
}

#[tokio::test]
async fn a_hold_ends_with_its_service() {
    let plane = plane().await;
    plane.post(HOLD, "").await.expect(200);
    plane.delete("/v1/services/web").await.expect(200);
    plane.get(HOLD).await.expect_problem(404, "not-found");
    plane.post(HOLD, "").await.expect_problem(404, "not-found");
    plane.post(RESUME, "").await.expect_problem(404, "not-found");
    plane.with("web", &[]).await;
    plane.get(HOLD).await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn a_hold_whose_caller_is_gone_ends_by_itself() {
    let plane = plane().await;
    let revision = plane.post(HOLD, r#"{"max": "1s"}"#).await.expect(200).revision();
    let mut lasted = 0;
    while plane.get(HOLD).await.status == 200 {
        lasted += 1;
        assert!(lasted < 2_000, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let ended = plane
        .get(&format!("/v1/revisions/{}", revision + 1))
        .await
        .expect(200)
        .json;
    assert_eq!(
        (&ended["actor"], &ended["ops"][0]["kind"]),
        (&json!("hold-max"), &json!("hold"))
    );
    assert_eq!(ended["ops"][0]["verb"], "delete");
}

//! Services that take mail: for whom, from whom, and how it reaches their upstreams.

use serde_json::json;

use crate::plane::Plane;

const MAIL: &str = "/v1/services/mail";

#[tokio::test]
async fn a_service_that_takes_mail_is_written_and_shown_like_any() {
    let plane = Plane::start().await;
    let body = json!({
        "match": [{"hosts": ["mail.example.com"]}, {"recipients": ["Example.com", "*.example.com", "sales@Example.org"]}],
        "mail": {"shape": "raw", "validate_recipient": "/known"},
    });
    plane.put(MAIL, &body.to_string()).await.expect(200);
    let shown = plane.get(MAIL).await.expect(200).json;
    assert_eq!(
        shown["match"][1],
        json!({"recipients": ["example.com", "*.example.com", "sales@example.org"]})
    );
    assert_eq!(shown["match"][0]["recipients"], json!([]));
    assert_eq!(
        (&shown["open"], &shown["mail"]),
        (
            &json!(false),
            &json!({"shape": "raw", "path": "/messages", "validate_recipient": "/known", "signing_key": null})
        )
    );
    assert_eq!(
        plane.put(MAIL, &shown.to_string()).await.expect(200).revision(),
        1,
        "it is the same"
    );

    plane.patch(MAIL, r#"{"mail": {"path": "/in"}}"#).await.expect(200);
    let shown = plane.get(MAIL).await.json;
    assert_eq!(
        (&shown["mail"]["path"], &shown["mail"]["shape"]),
        (&json!("/in"), &json!("raw"))
    );
    plane.patch(MAIL, r#"{"mail": null, "open": null}"#).await.expect(200);
    let shown = plane.get(MAIL).await.json;
    assert_eq!((&shown["mail"], &shown["open"]), (&json!(null), &json!(false)));
}

#[tokio::test]
async fn an_open_relay_has_to_be_said() {
    let plane = Plane::start().await;
    let refused = |field: &'static str, reply: crate::plane::Reply| {
        let problem = reply.expect_problem(422, "invalid");
        assert_eq!(problem.fields(), [field]);
    };
    let anybody = r#"{"match": [{}, {"recipients": ["example.com", "*"]}]}"#;
    refused("match[1].recipients", plane.put(MAIL, anybody).await);
    plane.get(MAIL).await.expect_problem(404, "not-found");

    plane.with("auth", &[]).await;
    plane
        .put("/v1/authorizers/main", r#"{"service": "auth"}"#)
        .await
        .expect(200);
    let guarded = r#"{"match": [{"recipients": ["*"]}], "authorizer": "main"}"#;
    plane.put(MAIL, guarded).await.expect(200);
    refused(
        "match[0].recipients",
        plane.patch(MAIL, r#"{"authorizer": null}"#).await,
    );
    plane
        .patch(MAIL, r#"{"authorizer": null, "open": true}"#)
        .await
        .expect(200);
    refused("match[0].recipients", plane.patch(MAIL, r#"{"open": false}"#).await);
    assert_eq!(plane.get(MAIL).await.json["open"], true);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_its_field() {
    let plane = Plane::start().await;
    for (body, field) in [
        (r#"{"match": [{"recipients": "example.com"}]}"#, "match[0].recipients"),
        (r#"{"match": [{"recipients": ["a b"]}]}"#, "match[0].recipients[0]"),
        (
            r#"{"match": [{"recipients": ["a.example"], "hosts": ["a.example"]}]}"#,
            "match[0].hosts",
        ),
        (r#"{"match": [], "open": "yes"}"#, "open"),
        (r#"{"match": [], "mail": {"shape": "lmtp"}}"#, "mail.shape"),
        (r#"{"match": [], "mail": {"shape": "mailgun"}}"#, "mail.signing_key"),
        (
            r#"{"match": [], "mail": {"signing_key": "secret"}}"#,
            "mail.signing_key",
        ),
    ] {
        let problem = plane.put(MAIL, body).await.expect_problem(422, "invalid");
        assert_eq!(problem.fields(), [field], "{body}");
    }
    assert_eq!(plane.head().await, 0);
}

#[tokio::test]
async fn a_recipient_is_one_services() {
    let plane = Plane::start().await;
    let of = |recipients: &str| format!(r#"{{"match": [{{"recipients": {recipients}}}]}}"#);
    plane.put(MAIL, &of(r#"["a.example", "b.example"]"#)).await.expect(200);
    let taken = plane
        .put("/v1/services/other", &of(r#"["c.example", "B.example."]"#))
        .await;
    let taken = taken.expect_problem(409, "conflict");
    assert_eq!(taken.json["with"], "mail");
    assert_eq!(taken.fields(), ["match[0].recipients[1]"]);
    // Of the same domain, but not the same.
    let near = of(r#"["x@b.example", "*.b.example"]"#);
    plane.put("/v1/services/other", &near).await.expect(200);
    plane.put(MAIL, &of(r#"["a.example"]"#)).await.expect(200);
    plane
        .put("/v1/services/other", &of(r#"["b.example"]"#))
        .await
        .expect(200);
}

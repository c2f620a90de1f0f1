//! Who takes mail for whom is live when the write answers.

use serde_json::json;

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_live_when_the_answer_comes() {
    let stage = Stage::bare(&[]).await;
    let api = stage.api();
    let mut session = stage.session().await;
    let mut send = async |to: &str| {
        let reply = session.mail("alice@sender.test", &[to], MESSAGE).await.unwrap();
        session.say("RSET").await.unwrap().expect("250 2.0.0");
        reply.codes()
    };
    assert_eq!(send("a@one.test").await, "550 5.7.1");
    let mail = |recipient: &str| json!({"match": [{"recipients": [recipient]}]});
    api.put("/v1/services/mail", mail("one.test")).await.live();
    assert_eq!(send("a@one.test").await, "451 4.4.1");
    api.register("mail", "a", stage.application.address).await;
    assert_eq!(send("a@one.test").await, "250 2.0.0");
    for round in 0..5 {
        let domain = format!("r{round}.test");
        api.put("/v1/services/mail", mail(&domain)).await.live();
        assert_eq!(send(&format!("a@{domain}")).await, "250 2.0.0", "{domain}");
        assert_eq!(send("a@one.test").await, "550 5.7.1");
    }
    api.delete("/v1/services/mail").await.live();
    assert_eq!(send("a@r4.test").await, "550 5.7.1");
    assert_eq!(stage.inbox.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_exact_recipient_wins() {
    let stage = Stage::bare(&[]).await;
    let api = stage.api();
    for (service, recipient) in [
        ("anybody", "*"),
        ("below", "*.example.test"),
        ("domain", "example.test"),
        ("one", "Sales@example.test"),
    ] {
        let settings = json!({"match": [{"recipients": [recipient]}], "open": recipient == "*",
            "mail": {"path": format!("/{service}")}});
        api.put(&format!("/v1/services/{service}"), settings).await.live();
        api.register(service, "a", stage.application.address).await;
    }
    let mut session = stage.session().await;
    for (to, service) in [
        ("sales@EXAMPLE.test", "/one"),
        ("bob@example.test", "/domain"),
        ("bob@a.b.example.test", "/below"),
        ("bob@elsewhere.test", "/anybody"),
        ("postmaster", "/anybody"),
    ] {
        session
            .mail("alice@sender.test", &[to], MESSAGE)
            .await
            .unwrap()
            .expect("250 2.0.0");
        let delivery = stage.inbox.one();
        assert_eq!(delivery.line.path(), service, "{to}");
        assert_eq!(delivery.submitted().to, [to]);
    }
}

/// An open relay has to be said to be one.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_relays_for_everybody_by_accident() {
    let stage = Stage::bare(&[]).await;
    let relay = json!({"match": [{"recipients": ["*"]}]});
    stage
        .api()
        .put("/v1/services/mail", relay)
        .await
        .problem(422, "invalid");
    let mut session = stage.session().await;
    let refused = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    refused.expect("550 5.7.1");
}

//! What ends while mail is on its way waits for it.

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::mail::application::Application;

use crate::{MESSAGE, Stage};

/// Mail in delivery, which the application answers when it is released.
async fn in_delivery(stage: &Stage) -> tokio::task::JoinHandle<String> {
    stage.inbox.hold();
    let mut session = stage.session().await;
    let sending = tokio::spawn(async move {
        let reply = session.mail("alice@sender.test", &["bob@example.test"], MESSAGE).await;
        reply.unwrap().codes()
    });
    eventually("it is in delivery", async || stage.inbox.count() > 0).await;
    sending
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_waits_for_mail_in_delivery() {
    let mut stage = Stage::inbound().await;
    let sending = in_delivery(&stage).await;
    let api = stage.api();
    let deleting = tokio::spawn(async move { api.delete("/v1/services/mail/upstreams/a").await });
    eventually("it drains", async || {
        let fleet = stage.api().get("/v1/fleet").await.expect(200);
        fleet.body["items"][0]["draining"][0]["in_flight"] == json!(1)
    })
    .await;
    let new = Application::start(&stage.inbox).await;
    stage.api().register("mail", "b", new.address).await;
    assert!(!deleting.is_finished() && !sending.is_finished());
    stage.inbox.release();
    let answered = deleting.await.unwrap().live();
    assert_eq!(answered.body["wait"]["for"], "drained");
    // Safe to kill it now.
    let old = std::mem::replace(&mut stage.application, new).kill().await;
    assert_eq!(sending.await.unwrap(), "250 2.0.0");
    assert_eq!(stage.inbox.one().at, old);
    let mut session = stage.session().await;
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    assert_eq!(stage.inbox.one().at, stage.application.address);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_lets_transactions_end_and_sends_others_away() {
    let mut stage = Stage::inbound().await;
    let mut idle = stage.session().await;
    let mut busy = stage.session().await;
    busy.envelope("alice@sender.test", &["carol@example.test"])
        .await
        .unwrap()
        .expect("250 2.1.5");
    let sending = in_delivery(&stage).await;
    stage.up.terminate();
    let smtp = stage.smtp();
    eventually("it ends", async || tokio::net::TcpStream::connect(smtp).await.is_err()).await;
    idle.say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("421 4.3.2");
    stage.inbox.release();
    assert_eq!(sending.await.unwrap(), "250 2.0.0");
    busy.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    drop((idle, busy));
    assert_eq!(stage.up.exit().await, Some(0));
    assert_eq!(stage.inbox.take().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_while_its_service_is_held() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    session
        .envelope("alice@sender.test", &["bob@example.test"])
        .await
        .unwrap()
        .expect("250 2.1.5");
    stage
        .api()
        .post("/v1/services/mail/hold", json!({"max": "30s"}))
        .await
        .live();
    let sending = tokio::spawn(async move { session.data(MESSAGE).await.unwrap().codes() });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(stage.inbox.count(), 0);
    assert!(!sending.is_finished());
    stage.api().post("/v1/services/mail/resume", json!({})).await.live();
    assert_eq!(sending.await.unwrap(), "250 2.0.0");
    assert_eq!(stage.inbox.count(), 1);
}

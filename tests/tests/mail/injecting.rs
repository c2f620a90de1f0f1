//! STARTTLS: whatever was sent before the handshake is not taken for what comes after it (CVE-2011-0411 and its family).

use vulcan_tests::mail::certificate::Certificate;
use vulcan_tests::mail::session::Session;

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_sent_ahead_is_obeyed() {
    let stage = Stage::inbound().await;
    for ahead in [
        "NOOP\r\n",
        "EHLO evil.test\r\nMAIL FROM:<evil@sender.test>\r\n",
        "MAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n",
        "N",
    ] {
        let mut session = stage.session().await;
        session.send(format!("STARTTLS\r\n{ahead}").as_bytes()).await.unwrap();
        let Ok(reply) = session.reply().await else { continue };
        if reply.code != 220 {
            continue;
        }
        let Ok(mut session) = session.handshake(&stage.certificate).await else {
            continue;
        };
        // As many replies as were asked for, and a session that knows nothing.
        assert!(session.hello().await.unwrap().offers("SIZE"), "{ahead:?}");
        session
            .say("RCPT TO:<bob@example.test>")
            .await
            .unwrap()
            .expect("503 5.5.1");
        session.say("QUIT").await.unwrap().expect("221 2.0.0");
    }
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_anew_behind_tls() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    session
        .say("MAIL FROM:<evil@sender.test>")
        .await
        .unwrap()
        .expect("250 2.1.0");
    let reply = session.say("STARTTLS").await.unwrap();
    if reply.code != 220 {
        // Not within a transaction.
        reply.expect("503 5.5.1");
        session.say("RSET").await.unwrap().expect("250 2.0.0");
        session.say("STARTTLS").await.unwrap().expect("220 2.0.0");
    }
    let mut session = session.handshake(&stage.certificate).await.unwrap();
    session
        .say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("503 5.5.1");
    session.hello().await.unwrap();
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("503 5.5.1");
    session.say("STARTTLS").await.unwrap().expect("503 5.5.1");
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let delivery = stage.inbox.one();
    assert!(
        delivery
            .field("x-vulcan-tls")
            .is_some_and(|tls| tls.contains("TLSv1.3")),
        "{:?}",
        delivery.fields
    );
}

/// The new certificate is served to those who come after it, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_while_it_is_used() {
    let stage = Stage::inbound().await;
    let mut before = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    let renewed = Certificate::create(&stage.world.path(""), "proxy");
    vulcan_tests::eventually("the new one is served", async || {
        Session::open_secure(stage.smtp(), &renewed).await.is_ok()
    })
    .await;
    assert!(
        Session::open_secure(stage.smtp(), &stage.certificate).await.is_err(),
        "the control"
    );
    before
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    // One that is none changes nothing.
    std::fs::write(&renewed.chain, "certainly not").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mut after = Session::open_secure(stage.smtp(), &renewed).await.unwrap();
    after
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
}

//! Postfix relays through the proxy: what it takes arrives, and what the proxy puts off it brings again.

use vulcan_tests::eventually;
use vulcan_tests::mail::application::Answer;
use vulcan_tests::mail::postfix::Postfix;
use vulcan_tests::mail::session::Session;

use crate::Stage;

/// Postfix adds nothing to it but the field that it begins with.
const MESSAGE: &[u8] = b"From: alice@sender.test\r\nTo: bob@example.test\r\nDate: Thu, 26 Nov 2026 00:00:00 +0000\r\n\
    Message-ID: <1@sender.test>\r\nSubject: hello\r\n\r\nGood morning.\r\n";

fn is_relayed(content: &[u8]) -> bool {
    content.starts_with(b"Received:") && content.ends_with(MESSAGE)
}

async fn relays(is_secure: bool) {
    let stage = Stage::inbound().await;
    let postfix = Postfix::start(&stage.world.path(""), stage.smtp(), is_secure).await;
    let mut session = Session::open(postfix.address).await.unwrap();
    for n in 0..20 {
        let recipient = format!("bob{n}@example.test");
        let reply = session.mail("alice@sender.test", &[&recipient], MESSAGE).await.unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    }
    eventually("all are relayed", async || stage.inbox.count() >= 20).await;
    let mut recipients = Vec::new();
    for delivery in stage.inbox.take() {
        let submitted = delivery.submitted();
        assert!(
            is_relayed(&submitted.content),
            "{}",
            String::from_utf8_lossy(&submitted.content)
        );
        assert_eq!(submitted.sender, "alice@sender.test");
        let protocol = if is_secure { "ESMTPS" } else { "ESMTP" };
        let told = submitted
            .received()
            .split_ascii_whitespace()
            .any(|word| word == protocol);
        assert!(told, "{:?}", submitted.trace);
        recipients.extend(submitted.to);
    }
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), 20);

    // Put off, it comes again, with the same key.
    stage.inbox.answer(Answer::status(503));
    let reply = session
        .mail("alice@sender.test", &["carol@example.test"], MESSAGE)
        .await
        .unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    eventually("it is tried again", async || stage.inbox.count() >= 2).await;
    stage.inbox.answer(Answer::status(200));
    let so_far = stage.inbox.count();
    eventually("it is taken", async || stage.inbox.count() > so_far).await;
    let tries = stage.inbox.take();
    assert!(tries.iter().all(|delivery| delivery.key() == tries[0].key()));

    // Refused, the sender hears of it by a message from nobody.
    stage
        .inbox
        .answer(Answer::of(404, "content-type: text/plain\r\n", "no such user\n"));
    let bouncing = session
        .mail("dave@example.test", &["nobody@example.test"], MESSAGE)
        .await
        .unwrap();
    assert_eq!(bouncing.code, 250, "{bouncing:?}");
    eventually("it bounces", async || {
        let submitted = stage
            .inbox
            .deliveries()
            .into_iter()
            .map(|delivery| delivery.submitted());
        submitted.into_iter().any(|submitted| submitted.sender.is_empty())
    })
    .await;
    let all = stage.inbox.take();
    let bounce = all
        .iter()
        .map(|delivery| delivery.submitted())
        .find(|submitted| submitted.sender.is_empty());
    let bounce = bounce.unwrap();
    assert_eq!(bounce.to, ["dave@example.test"]);
    assert!(
        String::from_utf8_lossy(&bounce.content).contains("no such user"),
        "its reason is told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_relays_and_comes_again() {
    relays(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_relays_over_starttls() {
    relays(true).await;
}

//! The application reads a message whole and dies before its answer is whole: the client never hears 250, and what it sends
//! again has the same key.

use serde_json::json;
use vulcan_tests::mail::application::Answer;
use vulcan_tests::mail::session::Session;

use crate::{MESSAGE, Stage};

async fn at_every_byte(answer: Answer) {
    let care = json!({"upstream_care": {"eject_after": 0}, "retries": {"attempts": 0}});
    let stage = Stage::inbound_with(&[], care).await;
    let mut session = stage.session().await;
    let mut keys = Vec::new();
    for cut in 0..answer.bytes.len() {
        stage.inbox.answer(answer.clone().cut(cut));
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
            .await
            .unwrap();
        assert!(matches!(reply.code, 400..500), "cut at {cut}: {reply:?}");
        let deliveries = stage.inbox.take();
        assert!(!deliveries.is_empty(), "cut at {cut}: it was read whole");
        keys.extend(deliveries.iter().map(|delivery| delivery.key().to_owned()));
    }
    // The control: with its last byte it is an answer.
    stage.inbox.answer(answer);
    let reply = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    reply.expect("250 2.0.0");
    let last = stage.inbox.one();
    assert!(keys.iter().all(|key| key == last.key()), "{keys:?}");
    assert_eq!(last.submitted().content, MESSAGE);
    let reply = session
        .mail("alice@sender.test", &["carol@example.test"], MESSAGE)
        .await
        .unwrap();
    reply.expect("250 2.0.0");
    assert_ne!(
        stage.inbox.one().key(),
        last.key(),
        "another recipient is another message"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_byte_of_an_answer_with_a_length() {
    at_every_byte(Answer::of(200, "content-type: text/plain\r\n", "taken\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_byte_of_an_answer_in_chunks() {
    let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntak\r\n3\r\nen\n\r\n0\r\n\r\n".to_vec();
    at_every_byte(Answer {
        bytes,
        ..Answer::status(200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_byte_of_an_answer_without_a_body() {
    let bytes = b"HTTP/1.1 204 No Content\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n".to_vec();
    at_every_byte(Answer {
        bytes,
        ..Answer::status(204)
    })
    .await;
}

/// One that dies again and again, and another that does not.
#[tokio::test(flavor = "multi_thread")]
async fn another_application_takes_what_a_dying_one_has_read() {
    use vulcan_tests::mail::application::{Application, Inbox};
    let settings = json!({"retries": {"attempts": 2}, "balance": "round_robin"});
    let stage = Stage::inbound_with(&[], settings).await;
    stage.inbox.answer(Answer::status(200).cut(0));
    let well = Inbox::default();
    let other = Application::start(&well).await;
    stage.api().register("mail", "b", other.address).await;
    let mut session = stage.session().await;
    for n in 0..20 {
        let recipient = format!("bob{n}@example.test");
        let reply = session.mail("alice@sender.test", &[&recipient], MESSAGE).await.unwrap();
        reply.expect("250 2.0.0");
        let taken = well.one();
        let died: Vec<_> = stage.inbox.take();
        assert!(died.iter().all(|delivery| delivery.key() == taken.key()));
    }
}

/// A client that dies before it has said that it has sent all has sent nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_dies_within_its_data_has_sent_nothing() {
    let stage = Stage::inbound().await;
    let data = vulcan_tests::mail::session::stuffed(MESSAGE);
    for cut in [0, 1, MESSAGE.len() / 2, data.len() - 3, data.len() - 2, data.len() - 1] {
        let mut session = stage.session().await;
        session
            .envelope("alice@sender.test", &["bob@example.test"])
            .await
            .unwrap()
            .expect("250 2.1.5");
        session.say("DATA").await.unwrap().expect("354");
        session.send(&data[..cut]).await.unwrap();
    }
    // The control, and whatever was to come has come before it.
    let mut session = stage.session().await;
    session
        .mail("alice@sender.test", &["carol@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    assert_eq!(stage.inbox.one().submitted().to, ["carol@example.test"]);
}

/// Another session, another name and another way: whoever sends it again may have changed, the message has not.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_keeps_its_key_whichever_way_it_comes() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let first = stage.inbox.one();
    let mut session = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    session.say("EHLO another.test").await.unwrap();
    let size = MESSAGE.len();
    session
        .say(&format!("MAIL FROM:<alice@sender.test> SIZE={size} BODY=8BITMIME"))
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    assert_eq!(stage.inbox.one().key(), first.key());
    // And whatever else is different is another message.
    let longer = [MESSAGE, b"\r\n"].concat();
    for (from, to, message) in [
        ("alice@sender.test", "carol@example.test", MESSAGE),
        ("carol@sender.test", "bob@example.test", MESSAGE),
        ("", "bob@example.test", MESSAGE),
        ("alice@sender.test", "bob@example.test", &longer),
    ] {
        session.mail(from, &[to], message).await.unwrap().expect("250 2.0.0");
        assert_ne!(stage.inbox.one().key(), first.key(), "{from} {to}");
    }
}

//! Who says that it speaks for another is believed where it is trusted, and nowhere else.

use serde_json::json;
use vulcan_tests::mail::session::Session;

use crate::{MESSAGE, Stage};

async fn client_of(stage: &Stage, session: &mut Session) -> String {
    session.hello().await.unwrap();
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let delivery = stage.inbox.one();
    delivery.field("x-forwarded-for").expect("it is told").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_stays_a_stranger() {
    let stage = Stage::inbound_with(&[], json!({"deny": ["192.0.2.0/24"]})).await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.greeted().await.unwrap();
    assert!(!session.hello().await.unwrap().offers("XCLIENT"));
    let reply = session.say("XCLIENT ADDR=192.0.2.7 LOGIN=root").await.unwrap();
    assert!(reply.code >= 500, "{reply:?}");
    assert_eq!(client_of(&stage, &mut session).await, "127.0.0.1");

    for header in [
        "PROXY TCP4 192.0.2.7 127.0.0.1 1 25\r\n".as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\0\x01\0\x19",
    ] {
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        session.send(header).await.unwrap();
        session
            .send(b"EHLO a.test\r\nMAIL FROM:<alice@sender.test>\r\n")
            .await
            .unwrap();
        // Refused or passed over; whatever is said afterwards is said by 127.0.0.1.
        let replies = session.send(b"RCPT TO:<bob@example.test>\r\nQUIT\r\n").await;
        drop(replies);
        let replies = session.rest().await;
        assert!(
            replies.iter().all(|reply| !reply.text().contains("192.0.2.7")),
            "{replies:?}"
        );
        assert!(
            replies.iter().any(|reply| reply.code >= 500) || replies.is_empty(),
            "{replies:?}"
        );
    }
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_server_speaks_for_its_clients() {
    let stage = Stage::inbound_with(&["--trusted", "127.0.0.0/8"], json!({"deny": ["192.0.2.0/24"]})).await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.greeted().await.unwrap();
    assert!(session.hello().await.unwrap().offers("XCLIENT"));
    session
        .say("XCLIENT ADDR=198.51.100.7 NAME=mx.test")
        .await
        .unwrap()
        .expect("220");
    assert_eq!(client_of(&stage, &mut session).await, "198.51.100.7");

    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session
        .send(b"PROXY TCP4 198.51.100.8 127.0.0.1 1 25\r\n")
        .await
        .unwrap();
    session.greeted().await.unwrap();
    assert_eq!(client_of(&stage, &mut session).await, "198.51.100.8");

    let mut session = Session::connect(stage.smtp()).await.unwrap();
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x09\x7f\0\0\x01\0\x01\0\x19";
    session.send(second).await.unwrap();
    session.greeted().await.unwrap();
    assert_eq!(client_of(&stage, &mut session).await, "198.51.100.9");

    // And so its clients are refused for what they are.
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 25\r\n").await.unwrap();
    session.greeted().await.unwrap();
    session.hello().await.unwrap();
    let refused = session
        .envelope("alice@sender.test", &["bob@example.test"])
        .await
        .unwrap();
    refused.expect("550 5.7.1");
}

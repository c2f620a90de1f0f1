//! Envelopes: whatever addresses there are, they arrive; what is none is refused.

use serde_json::json;
use vulcan_tests::mail::session::Session;

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn addresses_arrive_as_they_were_sent() {
    let stage = Stage::inbound_with(&[], json!({"match": [{"recipients": ["example.test", "bücher.test"]}]})).await;
    let mut session = stage.session().await;
    for (from, parameters, to) in [
        ("alice@sender.test", "", vec!["bob@example.test"]),
        ("", "", vec!["bob@example.test"]),
        (
            "alice@sender.test",
            " SIZE=100 BODY=8BITMIME",
            vec!["Bob+tag@EXAMPLE.test"],
        ),
        (
            r#""a b,c"@sender.test"#,
            "",
            vec![r#""bob, the >second<"@example.test"#, r#""with \" quote"@example.test"#],
        ),
        (
            "álice@sender.test",
            " SMTPUTF8",
            vec!["böb@example.test", "bob@bücher.test"],
        ),
        (
            "alice@[127.0.0.1]",
            "",
            vec![r#""a,b"@example.test"#, "c=d%e@example.test"],
        ),
    ] {
        session
            .say(&format!("MAIL FROM:<{from}>{parameters}"))
            .await
            .unwrap()
            .expect("250 2.1.0");
        for recipient in &to {
            session
                .say(&format!("RCPT TO:<{recipient}>"))
                .await
                .unwrap()
                .expect("250 2.1.5");
        }
        session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
        let submitted = stage.inbox.one().submitted();
        assert_eq!(
            (submitted.sender.as_str(), &submitted.to),
            (from, &to.iter().map(|to| (*to).to_owned()).collect())
        );
        assert_eq!(submitted.content, MESSAGE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_recipients_share_a_message_and_the_next_waits() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    session
        .say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("250 2.1.0");
    let recipient = |n: u32| format!("bob{n}@example.test");
    for n in 0..100 {
        session
            .say(&format!("RCPT TO:<{}>", recipient(n)))
            .await
            .unwrap()
            .expect("250 2.1.5");
    }
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("452 4.5.3");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    let submitted = stage.inbox.one().submitted();
    assert_eq!(submitted.to, (0..100).map(recipient).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_has_no_room_for_fields_or_commands() {
    let stage = Stage::inbound().await;
    for hostile in [
        "MAIL FROM:<a\rX-Forged: b@sender.test>",
        "MAIL FROM:<a\nX-Forged: b@sender.test>",
        "MAIL FROM:<a\0b@sender.test>",
        "MAIL FROM:<a\x1b[b@sender.test>",
        "EHLO a\rX-Forged: b",
        "EHLO a\x01b",
    ] {
        let mut session = stage.session().await;
        session.send(format!("{hostile}\r\n").as_bytes()).await.unwrap();
        let reply = session.reply().await;
        assert!(
            reply.as_ref().map_or(true, |reply| reply.code >= 500),
            "{hostile:?}: {reply:?}"
        );
    }
    for hostile in [
        "RCPT TO:<bob\0@example.test>",
        "RCPT TO:<\"bob\r\nDATA\"@example.test>",
        "RCPT TO:<bob\x7f@example.test>",
    ] {
        let mut session = stage.session().await;
        session
            .say("MAIL FROM:<alice@sender.test>")
            .await
            .unwrap()
            .expect("250 2.1.0");
        session.send(format!("{hostile}\r\n").as_bytes()).await.unwrap();
        let reply = session.reply().await;
        assert!(
            reply.as_ref().map_or(true, |reply| reply.code >= 500),
            "{hostile:?}: {reply:?}"
        );
    }
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_may_be_sent_ahead() {
    let stage = Stage::inbound().await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.greeted().await.unwrap();
    assert!(session.hello().await.unwrap().offers("PIPELINING"));
    let ahead =
        "MAIL FROM:<alice@sender.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<bob@elsewhere.test>\r\nDATA\r\n";
    session.send(ahead.as_bytes()).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(session.reply().await.unwrap().codes());
    }
    assert_eq!(codes, ["250 2.1.0", "250 2.1.5", "550 5.7.1", "354"]);
    let two = "a: b\r\n\r\nc\r\n.\r\nMAIL FROM:<alice@sender.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n";
    session.send(two.as_bytes()).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(session.reply().await.unwrap().codes());
    }
    assert_eq!(codes, ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354"]);
    session.send(b"d: e\r\n.\r\nQUIT\r\n").await.unwrap();
    let codes: Vec<String> = session.rest().await.iter().map(|reply| reply.codes()).collect();
    assert_eq!(codes, ["250 2.0.0", "221 2.0.0"]);
    let contents: Vec<_> = stage
        .inbox
        .take()
        .iter()
        .map(|delivery| delivery.submitted().content)
        .collect();
    assert_eq!(contents, [b"a: b\r\n\r\nc\r\n".to_vec(), b"d: e\r\n".to_vec()]);
}

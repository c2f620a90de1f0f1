//! What the application gets is what the client sent, byte for byte, whatever that is.

use vulcan_tests::mail::session::stuffed;

use crate::Stage;

/// Messages whose lines end in CRLF.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let head = b"Subject: x\r\n\r\n".as_slice();
    let body = |text: &[u8]| [head, text].concat();
    let eight_bits: Vec<u8> = (1..=255).filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let long = |length: usize| body(&[&vec![b'x'; length], b"\r\n".as_slice()].concat());
    vec![
        ("empty", Vec::new()),
        ("one empty line", b"\r\n".to_vec()),
        ("a head alone", head.to_vec()),
        ("no head", b"\r\nonly a body\r\n".to_vec()),
        ("bytes of any value", body(&[&eight_bits, b"\r\n".as_slice()].concat())),
        ("a line of 998", long(998)),
        ("a line of 999", long(999)),
        ("a line of 100,000", long(100_000)),
        ("a line beyond the memory of a spool", long(600_000)),
        ("one dot a line", body(&b".\r\n".repeat(10))),
        ("dots at the beginning", body(b"..\r\n...\r\n.a\r\n..a\r\n")),
        ("dots everywhere", body(&b"...........\r\n".repeat(7_000))),
        ("dots at the end", body(b"a.\r\nb..\r\n")),
        (
            "what looks like boundaries",
            body(b"--\r\n--x--\r\n\r\n--boundary\r\nContent-Disposition: form-data\r\n\r\n"),
        ),
        ("empty lines", body(&b"\r\n".repeat(1_000))),
        (
            "a folded head",
            b"Subject: a\r\n b\r\n\tc\r\nX: y\r\n\r\nbody\r\n".to_vec(),
        ),
        ("what looks like a command", body(b"QUIT\r\nMAIL FROM:<a@b>\r\n")),
        (
            "a few megabytes",
            body(&b"0123456789abcdefghijklmnopqrstuvwxyz\r\n".repeat(100_000)),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_arrives_as_it_was_sent() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    for (name, message) in corpus() {
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], &message)
            .await
            .unwrap();
        assert_eq!(reply.codes(), "250 2.0.0", "{name}: {reply:?}");
        let content = stage.inbox.one().submitted().content;
        assert!(
            content == message,
            "{name}: {} bytes came of {}",
            content.len(),
            message.len()
        );
    }
}

/// What is put before a message must not make a head of it: it gets the empty line that ends one.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_has_no_head_gets_none() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    for message in ["certainly no field\r\n\r\nbody\r\n", " folded: a\r\n", ".\r\n"] {
        let sent = session
            .mail("alice@sender.test", &["bob@example.test"], message.as_bytes())
            .await;
        sent.unwrap().expect("250 2.0.0");
        let content = String::from_utf8(stage.inbox.one().submitted().content).unwrap();
        assert_eq!(content, format!("\r\n{message}"));
    }
}

/// Wherever what is sent is cut in two: at each byte that could be mistaken.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_arrives_whatever_the_pieces_are() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    let message = b"S: x\r\n\r\n.\r\n..\r\n\r\n.a\r\n.\r\n".to_vec();
    let sent = stuffed(&message);
    for cut in 1..sent.len() {
        session
            .envelope("alice@sender.test", &["bob@example.test"])
            .await
            .unwrap()
            .expect("250 2.1.5");
        session.say("DATA").await.unwrap().expect("354");
        session.send(&sent[..cut]).await.unwrap();
        // Time to be read apart from the rest.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        session.send(&sent[cut..]).await.unwrap();
        session.reply().await.unwrap().expect("250 2.0.0");
        assert_eq!(stage.inbox.one().submitted().content, message, "cut at {cut}");
    }
}

/// What is repeated after the beginning of a spool's buffer meets each of its ends with a dot.
#[tokio::test(flavor = "multi_thread")]
async fn dots_survive_the_ends_of_all_buffers() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    for shift in 0..5 {
        let mut message = b"S: ".to_vec();
        message.extend(std::iter::repeat_n(b'x', shift));
        message.extend_from_slice(b"\r\n\r\n");
        message.extend_from_slice(&b".\r\n".repeat(100_000));
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], &message)
            .await
            .unwrap();
        reply.expect("250 2.0.0");
        assert!(stage.inbox.one().submitted().content == message, "{shift} bytes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pretends_to_be_the_proxys_own_word_is_taken_out() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    let message = b"X-Vulcan-Auth-Token: root\r\nSubject: a\r\nX-Envelope-From: root@example.test\r\n folded\r\nx-vulcan-helo: b\r\n\
        X-Vulcan-Auth-Token : root\r\n\r\n\
        X-Vulcan-Auth-Token: in the body\r\n";
    let reply = session
        .mail("alice@sender.test", &["bob@example.test"], message)
        .await
        .unwrap();
    reply.expect("250 2.0.0");
    let delivery = stage.inbox.one();
    assert_eq!(delivery.field("x-vulcan-auth-token"), None);
    let content = String::from_utf8(delivery.submitted().content).unwrap();
    assert_eq!(content, "Subject: a\r\n\r\nX-Vulcan-Auth-Token: in the body\r\n");
}

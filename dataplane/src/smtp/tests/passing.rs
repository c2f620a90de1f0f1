use super::stage::*;
use crate::smtp::fixture::envelope;
use crate::smtp::spool::tests::spooled;
use crate::smtp::{Record, deliver};

/// Each as its client may send it; `&[u8]`, since mail is no text.
fn messages() -> Vec<Vec<u8>> {
    let mut eight_bit = b"Subject: 8\r\n\r\n".to_vec();
    eight_bit.extend((0..=255u8).filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
    let line = format!("Subject: {}\r\n\r\n{}\r\n", "s".repeat(2_000), "x".repeat(100_000));
    let large: Vec<u8> = (0..1_000_003u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    vec![
        MESSAGE.to_vec(),
        eight_bit,
        line.into_bytes(),
        b"A: b\r\n\r\n.\r\n..\r\n\r\n.\r\n".to_vec(),
        b"A: b\r\n\r\nno final newline".to_vec(),
        b"A: b\r\n--boundary--\r\n\r\n".to_vec(),
        Vec::new(),
        [b"A: b\r\n\r\n".to_vec(), large].concat(),
    ]
}

#[test]
fn every_message_arrives_as_it_came_in_every_shape() {
    story(async || {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), "key").unwrap();
        let key = key.path().to_str().unwrap();
        let mailgun = format!(r#","mail":{{"shape":"mailgun","signing_key":{{"file":"{key}"}}}}"#);
        for fields in [
            r#","mail":{"shape":"submit"}"#,
            &mailgun,
            r#","mail":{"shape":"raw"}"#,
            "",
        ] {
            for sent in messages() {
                let stage = Stage::with(fields);
                let application = stage.application("a").await;
                let envelope = envelope("\"a b\"@example.com", &["grüße@example.org", "\"x, y\"@example.org"]);
                let message = spooled(&sent).await;
                let (reply, request) = tokio::join!(stage.deliver(&envelope, &message), application.answers(OK));
                assert_eq!(of(&reply), (250, "2.0.0", "ok"), "{fields}");
                assert!(
                    request.head.starts_with("POST /messages HTTP/1.1\r\n"),
                    "{}",
                    request.head
                );
                assert!(
                    request.message() == sent,
                    "{fields}: {:?}",
                    String::from_utf8_lossy(&request.body)
                );
            }
        }
    });
}

#[test]
fn an_upstream_is_told_where_it_is_and_who_sends() {
    story(async || {
        let stage = Stage::with(r#","mail":{"path":"/in/mail?kind=a"}"#);
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let (reply, request) = tokio::join!(stage.deliver(&envelope, &message), application.answers(OK));
        assert!(reply.is_positive());
        assert!(request.head.starts_with("POST /in/mail?kind=a HTTP/1.1\r\n"));
        assert_eq!(request.field("host"), stage.endpoint("a").identity().address.as_str());
        assert_eq!(request.field("x-forwarded-for"), "192.0.2.1");
        assert_eq!(request.field("x-vulcan-helo"), "client.example");
        assert!(field(&request.head, "transfer-encoding").is_none());
    });
}

#[test]
fn connections_are_kept_and_one_that_was_closed_meanwhile_costs_nothing() {
    story(async || {
        let stage = Stage::with(ONCE);
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let first = async {
            let mut peer = application.accept().await;
            for _ in 0..2 {
                peer.request().await;
                peer.send(OK).await;
            }
            // It reads a third one, and ends without a word.
            peer.request().await.key().to_owned()
        };
        let deliveries = async {
            for _ in 0..3 {
                assert!(stage.deliver(&envelope, &message).await.is_positive());
            }
        };
        let second = async {
            let key = first.await;
            assert_eq!(application.answers(OK).await.key(), key);
        };
        tokio::join!(deliveries, second);
    });
}

#[test]
fn it_is_in_flight_until_the_answers_last_byte() {
    story(async || {
        let stage = Stage::with("");
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let endpoint = stage.endpoint("a");
        let script = async {
            let mut peer = application.accept().await;
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(endpoint.in_flight(), 1);
            peer.send("k").await;
        };
        let (reply, ()) = tokio::join!(stage.deliver(&envelope, &message), script);
        assert!(reply.is_positive());
        assert_eq!(endpoint.in_flight(), 0);
    });
}

#[test]
fn what_changed_since_it_was_admitted_is_looked_at_again_before_anything_is_sent() {
    story(async || {
        let stage = Stage::with("");
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let receptions = stage.admit(&envelope, &message).await.ok().unwrap();
        stage.change(r#","deny":["192.0.2.0/24"]"#);
        let refused = deliver(&stage.context, &envelope, receptions, &message, &Record::begin()).await;
        assert_eq!((refused.code, refused.enhanced), (550, "5.7.1"));
        application.is_left_alone().await;

        stage.change("");
        let receptions = stage.admit(&envelope, &message).await.ok().unwrap();
        stage.change(r#","mail":{"path":"/third"}"#);
        let record = Record::begin();
        let delivering = deliver(&stage.context, &envelope, receptions, &message, &record);
        let (reply, request) = tokio::join!(delivering, application.answers(OK));
        assert!(reply.is_positive());
        assert!(request.head.starts_with("POST /third HTTP/1.1"));
    });
}

#[test]
fn what_changes_while_a_connection_is_made_is_looked_at_before_anything_is_sent() {
    story(async || {
        let stage = Stage::with("");
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let endpoint = stage.endpoint("a");
        let change = async {
            // It is picked by then, and no connection is there at once.
            assert_eq!(endpoint.in_flight(), 1);
            stage.change(r#","deny":["192.0.2.0/24"]"#);
        };
        let (reply, ()) = tokio::join!(stage.deliver(&envelope, &message), change);
        assert_eq!((reply.code, reply.enhanced), (550, "5.7.1"));
        let mut peer = application.accept().await;
        // All there is to read is the connection's end.
        stage.unregister("a");
        peer.ends().await;
    });
}

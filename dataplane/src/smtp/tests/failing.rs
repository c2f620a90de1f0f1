use super::stage::*;
use crate::smtp::fixture::envelope;
use crate::smtp::spool::tests::spooled;

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn the_applications_word_is_the_clients() {
    story(async || {
        let page = "x".repeat(100_000);
        let long = |status: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n{page}")
        };
        for (answer, code, enhanced) in [
            ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 250, "2.0.0"),
            (
                "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_owned(),
                451,
                "4.3.5",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
                550,
                "5.7.1",
            ),
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                550,
                "5.1.1",
            ),
            (
                "HTTP/1.1 429 Slow\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n".to_owned(),
                421,
                "4.7.1",
            ),
            (
                "HTTP/1.1 507 Full\r\nContent-Length: 0\r\n\r\n".to_owned(),
                452,
                "4.3.1",
            ),
            (long("500 Error"), 451, "4.3.0"),
            (long("200 OK"), 250, "2.0.0"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".to_owned(),
                451,
                "4.4.2",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                451,
                "4.4.2",
            ),
            ("SMTP 250 OK\r\n\r\n".to_owned(), 451, "4.4.2"),
        ] {
            let stage = Stage::with(ONCE);
            let application = stage.application("a").await;
            let envelope = envelope("a@example.com", &["b@example.org"]);
            let message = spooled(MESSAGE).await;
            let (reply, _) = tokio::join!(stage.deliver(&envelope, &message), application.answers(&answer));
            assert_eq!(
                (reply.code, reply.enhanced),
                (code, enhanced),
                "{answer:.60}: {reply:?}"
            );
        }
    });
}

#[test]
fn one_that_takes_no_connection_is_passed_over() {
    story(async || {
        let stage = Stage::with(IN_TURN);
        stage.register("a", &nowhere().await);
        let application = stage.application("b").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let (reply, _) = tokio::join!(stage.deliver(&envelope, &message), application.answers(OK));
        assert!(reply.is_positive());
    });
}

#[test]
fn nobody_to_take_it_is_for_later() {
    story(async || {
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let stage = Stage::with("");
        let reply = stage.deliver(&envelope, &message).await;
        assert_eq!((reply.code, reply.enhanced), (451, "4.4.1"));
        stage.register("a", &nowhere().await);
        let reply = stage.deliver(&envelope, &message).await;
        assert_eq!((reply.code, reply.enhanced), (451, "4.4.1"));
    });
}

#[test]
fn one_that_says_nothing_is_not_waited_for_for_ever() {
    story(async || {
        let stage = Stage::with(r#","retries":{"attempts":0},"timeouts":{"response":"100ms"}"#);
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let message = spooled(MESSAGE).await;
        let (reply, _peer) = tokio::join!(stage.deliver(&envelope, &message), async {
            let mut peer = application.accept().await;
            peer.request().await;
            peer
        });
        assert_eq!((reply.code, reply.enhanced), (451, "4.4.2"));
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn mail_that_cannot_be_signed_goes_nowhere() {
    story(async || {
        let stage = Stage::with(r#","mail":{"shape":"mailgun","signing_key":{"file":"/nowhere/key"}}"#);
        let application = stage.application("a").await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        let reply = stage.deliver(&envelope, &spooled(MESSAGE).await).await;
        assert_eq!((reply.code, reply.enhanced), (451, "4.3.5"));
        application.is_left_alone().await;
    });
}

#[test]
fn what_no_field_can_hold_goes_nowhere() {
    story(async || {
        let stage = Stage::with("");
        let application = stage.application("a").await;
        let mut envelope = envelope("a@example.com", &["b@example.org"]);
        envelope.visitor_mut().helo = "a\r\nHost: b".to_owned();
        let reply = stage.deliver(&envelope, &spooled(MESSAGE).await).await;
        assert_eq!((reply.code, reply.enhanced), (554, "5.6.0"));
        application.is_left_alone().await;
    });
}

//! An application that takes a message and dies before it has said so.

use super::stage::*;
use crate::smtp::fixture::envelope;
use crate::smtp::spool::tests::spooled;

/// Each has an end of its own.
const ANSWERS: [&str; 4] = [
    OK,
    "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n2\r\nok\r\n0\r\na: b\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
];

#[derive(Clone, Copy, Debug)]
enum Death {
    Closes,
    Resets,
}

/// What the client is told when so many bytes of the answer come, and then when it sends the message again.
async fn told(answer: &str, bytes: usize, death: Death) {
    let stage = Stage::with(ONCE);
    let application = stage.application("a").await;
    let envelope = envelope("a@example.com", &["b@example.org"]);
    let dies = async {
        let mut peer = application.accept().await;
        let request = peer.request().await;
        peer.send(&answer[..bytes]).await;
        match death {
            Death::Closes => drop(peer),
            Death::Resets => peer.reset(),
        }
        request
    };
    let message = spooled(MESSAGE).await;
    let (reply, first) = tokio::join!(stage.deliver(&envelope, &message), dies);
    let is_whole = bytes == answer.len();
    match death {
        // What was said before a reset may arrive, or not.
        Death::Resets if is_whole => {}
        _ => assert_eq!(
            reply.is_positive(),
            is_whole,
            "{death:?} after {:?}: {reply:?}",
            &answer[..bytes]
        ),
    }
    if !is_whole {
        assert_eq!((reply.code, reply.enhanced), (451, "4.4.2"));
    }
    // The client has the message still, and its connection is another one.
    let message = spooled(MESSAGE).await;
    let (reply, second) = tokio::join!(stage.deliver(&envelope, &message), application.answers(answer));
    assert!(reply.is_positive(), "{reply:?}");
    assert_eq!(first.key(), second.key());
    assert_eq!(first.message(), second.message());
}

#[test]
fn half_an_answer_is_never_250_and_the_resend_has_the_same_key() {
    story(async || {
        for answer in ANSWERS {
            for bytes in 0..=answer.len() {
                told(answer, bytes, Death::Closes).await;
                told(answer, bytes, Death::Resets).await;
            }
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_message_was_taken_is_none() {
    story(async || {
        // More than sockets hold.
        let large = vec![b'x'; 32 << 20];
        let message = spooled(&[b"A: b\r\n\r\n".as_slice(), &large].concat()).await;
        let envelope = envelope("a@example.com", &["b@example.org"]);
        for (answer, code) in [(OK, 451), ("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", 552)] {
            let stage = Stage::with(ONCE);
            let application = stage.application("a").await;
            let hasty = async {
                let mut peer = application.accept().await;
                peer.head().await;
                peer.send(answer).await;
                peer
            };
            let (reply, _peer) = tokio::join!(stage.deliver(&envelope, &message), hasty);
            assert_eq!(reply.code, code, "{reply:?}");
            assert_eq!(stage.context.upstreams.idle(), 0);
        }
    });
}

#[test]
fn another_upstream_gets_the_same_message_under_the_same_key() {
    story(async || {
        for bytes in [0, 5, OK.len() - 1] {
            let stage = Stage::with(IN_TURN);
            let (first, second) = (stage.application("a").await, stage.application("b").await);
            let envelope = envelope("a@example.com", &["b@example.org"]);
            let large = [MESSAGE, &vec![b'.'; 1 << 20]].concat();
            let message = spooled(&large).await;
            let dies = async {
                let mut peer = first.accept().await;
                let request = peer.request().await;
                peer.send(&OK[..bytes]).await;
                request
            };
            let (reply, one, other) = tokio::join!(stage.deliver(&envelope, &message), dies, second.answers(OK));
            assert!(reply.is_positive(), "{reply:?}");
            assert_eq!(one.key(), other.key());
            assert!(one.message() == large && other.message() == large);
        }
    });
}

//! Connections to upstreams between two requests, and while more than one thing is under way on them.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_local;

use super::stage::*;

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
/// More than sockets and buffers hold.
const MUCH: usize = 16 << 20;

/// Waits until no connection is kept any more.
async fn none_is_kept(stage: &Stage) {
    let waiting = async {
        while stage.upstreams.idle() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(waiting).await;
}

#[test]
fn one_that_its_server_ends_is_closed_at_once() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        client.send(GET).await;
        let mut upstream = origin.answers(OK).await;
        client.message().await;
        assert_eq!(stage.upstreams.idle(), 1);
        upstream.finish().await;
        none_is_kept(&stage).await;
        upstream.ends().await;
    });
}

#[test]
fn one_on_which_somebody_speaks_unasked_is_closed() {
    story(async || {
        for unasked in [OK, "\r\n"] {
            let (stage, origin, mut client) = scene("").await;
            client.send(GET).await;
            let mut upstream = origin.answers(OK).await;
            client.message().await;
            upstream.send(unasked).await;
            none_is_kept(&stage).await;

            client.send(GET).await;
            origin.answers(&format!("{OK}{unasked}")).await;
            assert_eq!(client.message().await.body, "ok", "what is behind it belongs to nobody");
            assert_eq!(stage.upstreams.idle(), 0);
        }
    });
}

#[test]
fn one_is_kept_once_its_request_is_complete_however_early_the_answer_was() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks(UPLOAD, &origin).await;
        upstream.send(OK).await;
        client.message().await;
        others().await;
        assert_eq!(stage.upstreams.idle(), 0);
        client.send("0123456789").await;
        upstream.exactly(10).await;
        others().await;
        assert_eq!(stage.upstreams.idle(), 1);
    });
}

#[test]
fn an_upload_is_cut_whose_answer_has_come() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks(UPLOAD, &origin).await;
        upstream.send(OK).await;
        client.message().await;
        let endpoint = stage.endpoint("a");
        assert_eq!(endpoint.in_flight(), 1);
        stage.unregister("a");
        stage.views.cut_overdue(Instant::now() + Duration::from_secs(3600));
        upstream.ends().await;
        others().await;
        assert_eq!(endpoint.in_flight(), 0);
    });
}

#[test]
fn an_upload_goes_on_whose_answer_nobody_reads() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MUCH}\r\n\r\n");
        let (upstream, _) = client.asks(&head, &origin).await;
        let (mut read, mut write) = upstream.stream.into_split();
        spawn_local(async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n");
            write.write_all(head.as_bytes()).await.unwrap();
            write.write_all(&vec![b'd'; MUCH]).await.unwrap();
        });
        client.head().await;
        let (mut upload, sent) = (vec![0; MUCH], "u".repeat(MUCH));
        let (taken, ()) = tokio::join!(soon(read.read_exact(&mut upload)), client.send(&sent));
        taken.unwrap();
        assert!(upload.iter().all(|byte| *byte == b'u'));
        assert!(client.exactly(MUCH).await.bytes().all(|byte| byte == b'd'));
    });
}

/// They say that there will be one, and not when.
#[test]
fn interim_answers_without_end_are_no_answer() {
    story(async || {
        let (stage, origin, mut client) = scene(r#","timeouts":{"response":"50ms"}"#).await;
        let (upstream, _) = client.asks(GET, &origin).await;
        let (mut read, mut write) = upstream.stream.into_split();
        spawn_local(async move {
            while write.write_all(HINT.as_bytes()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        // They are passed on as long as they come.
        let answer = loop {
            let answer = client.message().await;
            if answer.status() != "103" {
                break answer;
            }
        };
        answer.is_problem(504, "upstream-timeout");
        assert!(!matches!(soon(read.read(&mut [0; 1])).await, Ok(1..)));
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn there_are_not_any_number_of_answers_before_the_answer() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        for (hints, status) in [(100, "200"), (101, "502")] {
            client.send(GET).await;
            let answer = format!("{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HINT.repeat(hints));
            let _upstream = origin.answers(&answer).await;
            let last = loop {
                let answer = client.message().await;
                if answer.status() != "103" {
                    break answer;
                }
            };
            assert_eq!(last.status(), status, "{hints}");
        }
    });
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        for answer in ["HTTP/1.1 200 OK\r\n\r\nall", "HTTP/1.0 200 OK\r\n\r\nall"] {
            client.send(GET).await;
            let mut upstream = origin.answers(answer).await;
            upstream.finish().await;
            assert_eq!(client.message().await.body, "3\r\nall\r\n0\r\n\r\n");
            upstream.ends().await;
            assert_eq!(stage.upstreams.idle(), 0);
        }
    });
}

#[test]
fn what_an_upstream_says_of_its_status_passes() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client.send(GET).await;
        origin
            .answers("HTTP/1.1 299 As you like it\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 299 As you like it\r\n"));
    });
}

#[test]
fn trailers_of_a_request_need_no_announcement() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (mut upstream, _) = client.asks(head, &origin).await;
        client.send("2\r\nhi\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n").await;
        assert_eq!(upstream.until("\r\n\r\n").await, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
    });
}

/// Whoever sends the rest of an upload waits for a client that says nothing more, and its connection is over.
#[test]
fn an_upload_ends_with_its_client_however_that_ends() {
    story(async || {
        for fields in ["Connection: close\r\n", ""] {
            let (stage, origin, mut client) = scene("").await;
            let upload = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 100\r\n\r\nabc");
            client.send(&upload).await;
            let mut upstream = origin.accept().await;
            upstream.until("abc").await;
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
            client.head().await;
            upstream.send("early").await;
            assert_eq!(client.exactly(5).await, "early");
            if fields.is_empty() {
                client.finish().await;
            }
            soon(upstream.rest()).await;
            nothing_is_in_flight(&stage).await;
        }
    });
}

/// The client is cut, and has its answer since long.
#[test]
fn an_upload_that_stands_still_ends_behind_its_answer() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.slow = Duration::from_millis(50);
        let stage = Stage::set(setting).await;
        let (origin, mut client) = (stage.origin("a").await, stage.client().await);
        client.send(UPLOAD).await;
        let mut upstream = origin.accept().await;
        upstream.head().await;
        upstream.send(OK).await;
        client.message().await;
        soon(upstream.rest()).await;
        nothing_is_in_flight(&stage).await;
    });
}

/// It has said all that it will, and reads nothing more.
#[test]
fn an_upload_ends_with_its_upstream_once_that_has_answered() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        client.send(UPLOAD).await;
        let mut upstream = origin.accept().await;
        upstream.head().await;
        upstream.send(OK).await;
        client.message().await;
        drop(upstream);
        nothing_is_in_flight(&stage).await;
    });
}

async fn nothing_is_in_flight(stage: &Stage) {
    let waiting = async {
        while stage.endpoint("a").in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(waiting).await;
}

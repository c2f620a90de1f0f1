use super::stage::*;

/// What the client gets for `request` when the origin's answer is this one.
async fn told(client: &mut Peer, upstream: &mut Peer, request: &str, answer: &str) -> Message {
    client.send(request).await;
    upstream.head().await;
    upstream.send(answer).await;
    let head = client.head().await;
    let is_without = request.starts_with("HEAD") || [" 204 ", " 304 "].iter().any(|code| head.contains(code));
    let length = field(&head, "content-length").filter(|_| !is_without);
    let body = client.exactly(length.map_or(0, |length| length.parse().unwrap())).await;
    Message { head, body }
}

async fn opened(client: &mut Peer, origin: &Origin) -> Peer {
    client.send(GET).await;
    let upstream = origin.answers(OK).await;
    client.message().await;
    upstream
}

#[test]
fn requests_that_come_at_once_are_answered_in_turn() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let requests = ["/0", "/1", "/2"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.send(&format!("\r\n{}\r\n{PUT}", requests.concat())).await;
        let mut upstream = origin.accept().await;
        for path in ["/0", "/1", "/2"] {
            let head = upstream.head().await;
            assert!(head.starts_with(&format!("GET {path} ")), "{head}");
            upstream.send(&OK.replace("ok", &path.replace('/', "o"))).await;
            assert_eq!(client.message().await.body, path.replace('/', "o"));
        }
        assert_eq!(upstream.message().await.body, "hi");
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n";
        for _ in 0..2 {
            for byte in request.chars() {
                client.send(&byte.to_string()).await;
                others().await;
            }
        }
        let mut upstream = origin.accept().await;
        for _ in 0..2 {
            assert_eq!(unchunked(&upstream.message().await.body), "hi");
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
        }
    });
}

#[test]
fn an_old_client_keeps_its_connection_if_it_asks_for_that() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let request = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
        for _ in 0..2 {
            let answer = told(&mut client, &mut upstream, request, OK).await;
            assert!(answer.head.starts_with("HTTP/1.0 200 OK\r\n"), "{answer:?}");
            assert_eq!(answer.field("connection"), Some("keep-alive"));
        }
        let answer = told(&mut client, &mut upstream, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", OK).await;
        assert_eq!((answer.field("connection"), &*answer.body), (Some("close"), "ok"));
        client.ends().await;
    });
}

#[test]
fn a_client_that_says_so_gets_the_last_answer() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n";
        let answer = told(&mut client, &mut upstream, request, OK).await;
        assert_eq!((answer.field("connection"), &*answer.body), (Some("close"), "ok"));
        client.ends().await;
    });
}

#[test]
fn answers_without_a_body_say_what_they_may() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (request, answer, length) in [
            (GET, "HTTP/1.1 204 No Content\r\nTrailer: x\r\n\r\n", None),
            (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Some("5")),
            (GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Some("0")),
            (head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5")),
            (head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        ] {
            let answer = told(&mut client, &mut upstream, request, answer).await;
            assert_eq!(answer.field("content-length"), length, "{answer:?}");
            assert_eq!(answer.field("transfer-encoding"), None);
            assert_eq!(answer.field("trailer"), None);
        }
        client.send("HEAD /../ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_ne!(field(&head, "content-length"), None, "as long as for GET");
        client.finish().await;
        client.ends().await;
    });
}

#[test]
fn an_answer_has_one_date() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let dated = OK.replace("\r\n\r\n", "\r\nDate: yesterday\r\n\r\n");
        let answer = told(&mut client, &mut upstream, GET, &dated).await;
        assert_eq!(answer.field("date"), Some("yesterday"));
        let answer = told(&mut client, &mut upstream, GET, OK).await;
        let date = answer.field("date").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_ne!(client.message().await.field("date"), None);
    });
}

#[test]
fn who_is_refused_with_a_whole_request_may_ask_again() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        for request in [
            "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
        ] {
            client.send(request).await;
            let answer = client.message().await;
            answer.is_problem(404, "no-route");
            assert_eq!(answer.field("connection"), None);
        }
        client.send(GET).await;
        origin.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn trailers_need_not_be_announced_to_a_client_that_takes_them() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\nHost: b\r\n\r\n";
        for (te, end) in [("TE: trailers\r\n", "0\r\ngrpc-status: 0\r\n\r\n"), ("", "0\r\n\r\n")] {
            client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{te}\r\n")).await;
            upstream.head().await;
            upstream.send(answer).await;
            client.head().await;
            assert_eq!(client.exactly(7).await, "2\r\nok\r\n");
            assert_eq!(client.exactly(end.len()).await, end);
        }
    });
}

#[test]
fn what_comes_ahead_of_the_answer_is_told() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX: 1\r\nConnection: x\r\n\r\n";
        let told = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        client.send(GET).await;
        upstream.head().await;
        upstream.send(early).await;
        assert_eq!(client.head().await, told, "before there is an answer");
        // Nobody has asked for that one.
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        upstream.send(&format!("{early}{OK}")).await;
        assert_eq!(client.head().await, told);
        assert_eq!(client.message().await.body, "ok");

        // It does not know of such.
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        upstream.head().await;
        upstream.send(&format!("{early}{OK}")).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn a_slow_reader_gets_every_byte() {
    story(async || {
        const CHUNK: &str = "0123456789abcdef";
        let (_stage, origin, mut client) = scene("").await;
        let mut upstream = opened(&mut client, &origin).await;
        client.send(GET).await;
        upstream.head().await;
        let body = CHUNK.repeat(1 << 18);
        let sending = tokio::task::spawn_local(async move {
            upstream
                .send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))
                .await;
            upstream.send(&body).await;
            for size in [1, 100, 5000, 100_000] {
                upstream.head().await;
                upstream
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for chunk in body.as_bytes()[..20 * size].chunks(size) {
                    let chunk = std::str::from_utf8(chunk).unwrap();
                    upstream.send(&format!("{size:X}\r\n{chunk}\r\n")).await;
                }
                upstream.send("0\r\n\r\n").await;
            }
        });
        client.head().await;
        others().await;
        for _ in 0..1 << 8 {
            assert_eq!(client.exactly(CHUNK.len() << 10).await, CHUNK.repeat(1 << 10));
            others().await;
        }
        let expected = CHUNK.repeat(1 << 18);
        for size in [1, 100, 5000, 100_000] {
            client.send(GET).await;
            client.head().await;
            others().await;
            let chunked = client.until("0\r\n\r\n").await;
            assert_eq!(unchunked(&chunked), expected[..20 * size]);
        }
        sending.await.unwrap();
    });
}

fn unchunked(mut chunked: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, rest) = chunked.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&rest[..size]);
        chunked = &rest[size + 2..];
    }
}

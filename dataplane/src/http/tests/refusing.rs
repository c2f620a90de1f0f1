use super::stage::*;

/// What is sent is answered by a problem, and by the end of the connection.
async fn refused(stage: &Stage, bytes: &str, status: u16, kind: &str) {
    let mut client = stage.client().await;
    client.send(bytes).await;
    client.message().await.is_problem(status, kind);
    client.finish().await;
    client.ends().await;
}

#[test]
fn what_is_no_sound_request_reaches_nobody() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        for bytes in [
            "nonsense\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ] {
            let mut client = stage.client().await;
            client.send(bytes).await;
            let answer = client.message().await;
            assert_eq!(answer.status(), "400", "{bytes:?}");
            answer.is_problem(400, "bad-request");
            client.finish().await;
            client.ends().await;
        }
        origin.is_left_alone().await;
    });
}

#[test]
fn a_client_is_refused_by_the_address_that_trusted_proxies_tell() {
    story(async || {
        let setting = Setting {
            fields: r#","deny":["1.2.3.0/24"]"#,
            trusted: &["127.0.0.0/8"],
            ..Setting::default()
        };
        let stage = Stage::set(setting).await;
        let (origin, mut client) = (stage.origin("a").await, stage.client().await);
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
            .await;
        client.message().await.is_problem(403, "denied");
        let allowed = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.4.4\r\n\r\n";
        let (mut upstream, _) = client.asks(allowed, &origin).await;
        upstream.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.message().await.status(), "204", "on the same connection");
    });
}

#[test]
fn a_bad_chunk_is_no_end_of_a_request() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        for chunk in ["5\nhello\n", "5\r\nhelloXX", "z\r\n", "0\r\nX: y\n\r\n"] {
            let mut client = stage.client().await;
            client
                .send(&format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n{chunk}"
                ))
                .await;
            client.message().await.is_problem(400, "bad-request");
            if let Ok(mut upstream) = tokio::time::timeout(std::time::Duration::ZERO, origin.accept()).await {
                let (request, _) = upstream.rest().await;
                assert!(!request.ends_with("0\r\n\r\n"), "{request}");
            }
        }
    });
}

#[test]
fn a_head_has_its_limits() {
    story(async || {
        let stage = Stage::new().await;
        let fields = "A: b\r\n".repeat(100);
        refused(
            &stage,
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
            431,
            "head-too-large",
        )
        .await;
        let long = "x".repeat(65 * 1024);
        refused(
            &stage,
            &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            431,
            "head-too-large",
        )
        .await;
        refused(
            &stage,
            &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            431,
            "head-too-large",
        )
        .await;

        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        let long = "x".repeat(60 * 1024);
        client
            .send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"))
            .await;
        assert!(origin.answers(OK).await.stream.peer_addr().is_ok());
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn what_nobody_serves_is_said_and_the_connection_goes_on() {
    story(async || {
        let stage = Stage::new().await;
        let mut client = stage.client().await;
        client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.message().await.is_problem(404, "no-route");
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 503 "));
        client.send(GET).await;
        client.message().await.is_problem(503, "no-upstream");
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n")
            .await;
        client.message().await.is_problem(417, "bad-request");
    });
}

#[test]
fn a_body_has_its_limit() {
    story(async || {
        let stage = Stage::with(r#","max_body":10"#).await;
        let origin = stage.origin("a").await;
        // By its length, before anything of it is read; what has been sent must not cost the client the answer.
        let body = "x".repeat(100_000);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        refused(&stage, &format!("{head}{body}"), 413, "too-large").await;
        origin.is_left_alone().await;

        let mut client = stage.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
            .await;
        let mut upstream = origin.accept().await;
        upstream.until("5\r\n01234\r\n").await;
        client.send("6\r\n567890\r\n").await;
        let answer = client.message().await;
        answer.is_problem(413, "too-large");
        assert_eq!(answer.field("connection"), Some("close"));
        let (rest, _) = upstream.rest().await;
        assert_eq!(rest, "", "no end of the request");
    });
}

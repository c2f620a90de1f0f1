use super::stage::*;

#[test]
fn a_request_goes_on_and_its_answer_comes_back_over_kept_connections() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        client.send(GET).await;
        let mut upstream = origin.accept().await;
        for _ in 0..3 {
            let head = upstream.head().await;
            assert!(head.starts_with("GET /path?query HTTP/1.1\r\n"), "{head}");
            upstream.send(OK).await;
            let answer = client.message().await;
            assert_eq!((answer.status(), &*answer.body), ("200", "ok"));
            assert_eq!(answer.field("connection"), None);
            client.send(GET).await;
        }
        upstream.head().await;
        assert_eq!((stage.endpoint("a").in_flight(), stage.upstreams.idle()), (1, 0));
        upstream.send(OK).await;
        client.message().await;
        assert_eq!((stage.endpoint("a").in_flight(), stage.upstreams.idle()), (0, 1));
        origin.is_left_alone().await;
    });
}

#[test]
fn each_side_sees_what_concerns_it() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let (mut upstream, head) = client.asks(concat!(
                "GET /%6C//x?a=%2F HTTP/1.1\r\nHost: Example.com:81\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n",
                "Keep-Alive: 5\r\nTE: deflate\r\nUpgrade: h2c\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n",
                "X-Vulcan-Auth-Token: admin\r\nX-Request-Id: my-id\r\nCookie: a\r\nCookie: b\r\n\r\n",
            ), &origin).await;
        assert!(head.starts_with("GET /%6C//x?a=%2F HTTP/1.1\r\n"), "{head}");
        for gone in [
            "connection",
            "x-hop",
            "keep-alive",
            "te",
            "upgrade",
            "x_forwarded_for",
            "x-vulcan-auth-token",
        ] {
            assert_eq!(field(&head, gone), None, "{gone}");
        }
        assert_eq!(field(&head, "host"), Some("Example.com:81"));
        assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("Example.com:81"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("http"));
        assert_eq!(field(&head, "x-request-id"), Some("my-id"));
        assert_eq!(field(&head, "traceparent").unwrap().len(), 55);
        assert_eq!(head.matches("cookie: ").count(), 2);
        upstream
            .send(concat!(
                "HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n",
                "Upgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
            ))
            .await;
        let answer = client.message().await;
        assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{answer:?}");
        for gone in ["connection", "x-hop", "keep-alive", "upgrade"] {
            assert_eq!(answer.field(gone), None, "{gone}");
        }
        assert_eq!(answer.head.matches("set-cookie: ").count(), 2);
    });
}

#[test]
fn a_trusted_proxy_in_front_is_believed() {
    story(async || {
        let stage = Stage::set(Setting {
            trusted: &["127.0.0.0/8"],
            ..Setting::default()
        })
        .await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n";
        client.send(head).await;
        let head = origin.accept().await.head().await;
        assert_eq!(field(&head, "x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
        assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    });
}

#[test]
fn answers_without_a_body_say_what_they_would_have() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &origin).await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!(field(&head, "content-length"), Some("1234"));
        for status in ["204 No Content", "304 Not Modified"] {
            client.send(GET).await;
            upstream.head().await;
            upstream
                .send(&format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n"))
                .await;
            let head = client.head().await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            assert_eq!(field(&head, "content-length"), None);
            assert_eq!(field(&head, "transfer-encoding"), None);
        }
        client.send(GET).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client
            .send(concat!(
                "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none",
                "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\r\n",
                "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /4 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            ))
            .await;
        let mut upstream = origin.accept().await;
        for body in ["one", "3\r\ntwo\r\n0\r\n\r\n", ""] {
            let request = upstream.message().await;
            assert_eq!(request.body, body);
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
        }
        client.message().await.is_problem(400, "bad-request");
        client.finish().await;
        client.ends().await;
    });
}

#[test]
fn an_old_client_is_understood() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let (mut upstream, head) = client.asks("GET / HTTP/1.0\r\n\r\n", &origin).await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"));
        assert!(field(&head, "host").unwrap().starts_with("127.0.0.1:"));
        upstream
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
        let (answer, end) = client.rest().await;
        assert!(
            answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"),
            "{answer}"
        );
        assert_eq!(end, End::Closed);
    });
}

#[test]
fn a_user_goes_where_the_header_says() {
    story(async || {
        let stage = Stage::with(r#","balance":{"consistent_hash":{"header":"X-User"}}"#).await;
        let robots = [
            stage.robot("1", OK).await,
            stage.robot("2", OK).await,
            stage.robot("3", OK).await,
        ];
        for user in 0..8 {
            let before = robots.each_ref().map(|robot| robot.asked.get());
            for _ in 0..3 {
                let mut client = stage.client().await;
                client
                    .send(&format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\n\r\n"))
                    .await;
                assert_eq!(client.message().await.body, "ok");
            }
            let asked = robots
                .iter()
                .zip(before)
                .map(|(robot, before)| robot.asked.get() - before);
            let mut asked: Vec<usize> = asked.collect();
            asked.sort_unstable();
            assert_eq!(asked, [0, 0, 3], "user {user}");
        }
    });
}

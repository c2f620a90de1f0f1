use super::stage::*;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";

#[test]
fn both_bodies_flow_at_once() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let (mut upstream, head) = client.asks(CHUNKED, &origin).await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        upstream
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        for _ in 0..3 {
            client.send("4\r\nping\r\n").await;
            assert_eq!(upstream.exactly(9).await, "4\r\nping\r\n");
            upstream.send("4\r\npong\r\n").await;
            assert_eq!(client.exactly(9).await, "4\r\npong\r\n");
        }
        client.send("0\r\n\r\n").await;
        assert_eq!(upstream.exactly(5).await, "0\r\n\r\n");
        upstream.send("0\r\n\r\n").await;
        assert_eq!(client.exactly(5).await, "0\r\n\r\n");

        client.send(GET).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn a_get_may_have_a_body() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
            .await;
        let request = origin.accept().await.message().await;
        assert_eq!(request.body, "2\r\nhi\r\n0\r\n\r\n");
    });
}

#[test]
fn an_early_answer_leaves_the_upload_going() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks(UPLOAD, &origin).await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
        assert_eq!(stage.endpoint("a").in_flight(), 1, "the upload is still to come");
        client.send("01234").await;
        assert_eq!(upstream.exactly(5).await, "01234");
        client.send("56789").await;
        assert_eq!(upstream.exactly(5).await, "56789");

        client.send(GET).await;
        upstream.head().await;
        assert_eq!(stage.endpoint("a").in_flight(), 1);
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn an_origin_that_answers_early_and_closes_is_heard() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let megabyte = "x".repeat(1_000_000);
        let (mut upstream, _) = client
            .asks(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n",
                &origin,
            )
            .await;
        upstream
            .send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
            .await;
        drop(upstream);
        // The whole of it, although nobody wants it: the answer must survive.
        for _ in 0..40 {
            client.send(&megabyte).await;
        }
        let answer = client.message().await;
        assert_eq!((answer.status(), &*answer.body), ("403", "no"));
        client.finish().await;
        client.ends().await;
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn the_client_is_asked_for_its_body_when_the_upstream_wants_it() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        client.send(head).await;
        let mut upstream = origin.accept().await;
        assert_eq!(field(&upstream.head().await, "expect"), Some("100-continue"));
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hi").await;
        assert_eq!(upstream.exactly(2).await, "hi");
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");

        // Refused by its head: never asked for.
        client.send(head).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            .await;
        let answer = client.message().await;
        assert_eq!((answer.status(), answer.field("connection")), ("401", Some("close")));
        upstream.ends().await;
        client.finish().await;
        client.ends().await;
    });
}

#[test]
fn a_client_is_asked_in_the_end_when_the_upstream_says_nothing() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.go_ahead = std::time::Duration::from_millis(1);
        let stage = Stage::set(setting).await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        let (mut upstream, _) = client
            .asks(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
                &origin,
            )
            .await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("hi").await;
        assert_eq!(upstream.exactly(2).await, "hi");
    });
}

#[test]
fn trailers_pass_where_both_sides_know_them() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let (mut upstream, head) = client
            .asks(
                concat!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization\r\n",
                    "TE: trailers\r\nConnection: TE\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\n\r\n",
                ),
                &origin,
            )
            .await;
        assert_eq!(
            (field(&head, "te"), field(&head, "connection")),
            (Some("trailers"), Some("te"))
        );
        assert_eq!(upstream.until("\r\n\r\n").await, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
        upstream
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 2\r\n\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(field(&head, "trailer"), Some("X-Sum"));
        assert_eq!(client.until("\r\n\r\n").await, "0\r\nx-sum: 2\r\n\r\n");

        client.send(GET).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok", "both connections are kept");
    });
}

use std::time::{Duration, Instant};

use super::stage::*;

const UPGRADE: &str = concat!(
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
    "Sec-WebSocket-Key: k\r\n\r\n"
);
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

async fn tunnel(stage: &Stage, origin: &Origin) -> (Peer, Peer) {
    let mut client = stage.client().await;
    let (mut upstream, head) = client.asks(UPGRADE, origin).await;
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "sec-websocket-key"), Some("k"));
    // The first frame comes with the answer.
    upstream.send(&format!("{SWITCH}hello")).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(client.exactly(5).await, "hello");
    (client, upstream)
}

#[test]
fn a_tunnel_carries_bytes_both_ways_until_both_have_ended() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        let (mut client, mut upstream) = tunnel(&stage, &origin).await;
        for _ in 0..3 {
            client.send("ping").await;
            assert_eq!(upstream.exactly(4).await, "ping");
            upstream.send("pong").await;
            assert_eq!(client.exactly(4).await, "pong");
        }
        assert_eq!(stage.endpoint("a").in_flight(), 1);
        client.send("bye").await;
        client.finish().await;
        assert_eq!(upstream.rest().await, ("bye".to_owned(), End::Closed));
        upstream.send("bye, too").await;
        upstream.finish().await;
        assert_eq!(client.rest().await, ("bye, too".to_owned(), End::Closed));
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn what_a_client_sends_before_the_switch_is_not_lost() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client.send(&format!("{UPGRADE}early")).await;
        let mut upstream = origin.answers(SWITCH).await;
        client.head().await;
        assert_eq!(upstream.exactly(5).await, "early");
    });
}

#[test]
fn a_tunnel_ends_with_its_upstreams_time() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        let (mut client, mut upstream) = tunnel(&stage, &origin).await;
        let endpoint = stage.endpoint("a");
        stage.unregister("a");
        client.send("still").await;
        assert_eq!(upstream.exactly(5).await, "still");
        stage.views.cut_overdue(Instant::now() + Duration::from_secs(3600));
        client.ends().await;
        upstream.ends().await;
        assert_eq!(endpoint.in_flight(), 0);
    });
}

#[test]
fn a_silent_tunnel_ends() {
    story(async || {
        let stage = Stage::with(r#","timeouts":{"idle":"50ms"}"#).await;
        let origin = stage.origin("a").await;
        let (mut client, mut upstream) = tunnel(&stage, &origin).await;
        client.ends().await;
        upstream.ends().await;
    });
}

#[test]
fn a_server_may_decline() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client.send(UPGRADE).await;
        let mut upstream = origin.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
        client.send(GET).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn nobody_switches_unasked() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        for request in [
            GET,
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
        ] {
            let mut client = stage.client().await;
            let (mut upstream, head) = client.asks(request, &origin).await;
            for name in ["upgrade", "connection", "http2-settings"] {
                assert_eq!(field(&head, name), None);
            }
            upstream.send(SWITCH).await;
            client.message().await.is_problem(502, "upstream-failed");
            upstream.ends().await;
        }
    });
}

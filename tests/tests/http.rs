//! Forwarding as it looks from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::script::{Script, next_request};
use vulcan_tests::wire::{Body, Connection, Request};
use vulcan_tests::world::World;

/// `up` with the service `web` and one origin behind it.
async fn web(world: &World, address: SocketAddr, flags: &[&str], settings: Value) -> Node {
    let up = world.up(flags).await;
    up.api().service("web", settings).await;
    up.api().register("web", "a", address).await;
    up
}

async fn client(node: &Node) -> Connection {
    Connection::connect(node.http()).await.unwrap()
}

async fn send(node: &Node, request: &Request) -> Reply {
    Api::new(node.http()).send(request).await
}

fn get(target: &str) -> Request {
    Request::new("GET", target, "web")
}

/// The fields that `/reflect` tells, as `name: value` lines.
async fn reflected(node: &Node, request: &Request) -> Vec<String> {
    send(node, request)
        .await
        .expect(200)
        .text
        .lines()
        .map(str::to_owned)
        .collect()
}

fn values<'a>(lines: &'a [String], name: &str) -> Vec<&'a str> {
    let parts = lines.iter().filter_map(|line| line.split_once(": "));
    parts
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_claims_about_itself_is_replaced() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({})).await;
    let request = get("/reflect?q=%2F&x=%6C")
        .with("x-forwarded-for", "6.6.6.6")
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "evil.example")
        .with("forwarded", "for=6.6.6.6")
        .with("x_forwarded_for", "6.6.6.6")
        .with("te", "trailers")
        .with("keep-alive", "timeout=5")
        .with("proxy-connection", "keep-alive")
        .with("connection", "x-mine, x-forwarded-for")
        .with("x-mine", "gone")
        .with("x-stays", "kept");
    let lines = reflected(&up, &request).await;
    assert_eq!(lines[0], "GET /reflect?q=%2F&x=%6C", "the target is forwarded as sent");
    assert_eq!(values(&lines, "host"), ["web"]);
    assert_eq!(values(&lines, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(&lines, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&lines, "x-forwarded-host"), ["web"]);
    assert_eq!(values(&lines, "x-stays"), ["kept"]);
    assert_eq!(values(&lines, "x-request-id").len(), 1);
    assert!(!lines.join("\n").contains("6.6.6.6"), "{lines:?}");
    for gone in ["x-mine", "x_forwarded_for", "keep-alive", "proxy-connection"] {
        assert!(values(&lines, gone).is_empty(), "{gone} is passed on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_client_is_believed_and_extended() {
    let world = World::new();
    let up = web(
        &world,
        origin::inside("a").await,
        &["--trusted", "127.0.0.0/8"],
        json!({}),
    )
    .await;
    let request = get("/reflect")
        .with("x-forwarded-for", "192.0.2.7")
        .with("x-forwarded-proto", "https")
        .with("x-request-id", "mine-1");
    let lines = reflected(&up, &request).await;
    assert_eq!(values(&lines, "x-forwarded-for").join(", "), "192.0.2.7, 127.0.0.1");
    assert_eq!(values(&lines, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&lines, "x-request-id"), ["mine-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides() {
    let world = World::new();
    let script = Script::listen().await;
    let up = web(&world, script.address, &["--workers", "1"], json!({})).await;
    let mut client = client(&up).await;
    client.writer.send(&get("/0").encode()).await.unwrap();
    let (mut server, _, _) = script.request().await;
    for round in 1..10 {
        server
            .writer
            .send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
            .await
            .unwrap();
        let head = client.reader.final_head().await.unwrap();
        assert!(!head.closes());
        assert_eq!(client.reader.exact(1).await.unwrap(), b"x");
        client.writer.send(&get(&format!("/{round}")).encode()).await.unwrap();
        assert_eq!(next_request(&mut server).await.0.target, format!("/{round}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({})).await;
    let mut client = client(&up).await;
    let head = client.ask(&Request::new("HEAD", "/bytes?n=1000", "web")).await.unwrap();
    assert_eq!((head.status, head.fields.length().unwrap()), (200, Some(1000)));
    for code in [204, 304] {
        let (head, body) = client.exchange(&get(&format!("/status?code={code}"))).await.unwrap();
        assert_eq!((head.status, body.len()), (code, 0));
    }
    let (head, body) = client.exchange(&get("/bytes?n=10")).await.unwrap();
    assert_eq!((head.status, body.len()), (200, 10), "the connection is in step");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_asks_first_is_told_to_go_on() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({})).await;
    let mut client = client(&up).await;
    let request = Request::new("POST", "/digest", "web")
        .with("expect", "100-continue")
        .with("content-length", "3");
    client.writer.send(&request.encode_head()).await.unwrap();
    assert_eq!(client.reader.head().await.unwrap().status, 100);
    client.writer.send(b"abc").await.unwrap();
    let head = client.reader.final_head().await.unwrap();
    let body = Body::of_answer(&head, "POST")
        .unwrap()
        .all(&mut client.reader)
        .await
        .unwrap();
    assert!(body.starts_with(b"3 "), "{}", String::from_utf8_lossy(&body));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_and_announced_trailers_pass_both_ways() {
    let world = World::new();
    let script = Script::listen().await;
    let up = web(&world, script.address, &[], json!({})).await;
    let mut client = client(&up).await;
    let request = Request::new("POST", "/", "web")
        .with("transfer-encoding", "chunked")
        .with("trailer", "x-sum");
    client
        .writer
        .send(&request.with("te", "trailers").encode_head())
        .await
        .unwrap();
    client.writer.chunk(b"ab").await.unwrap();
    let (mut server, _, fields) = script.request().await;
    let mut upload = Body::of_request(&fields).unwrap();
    assert_eq!(
        upload.next(&mut server.reader).await.unwrap().unwrap(),
        b"ab",
        "a chunk is not held back"
    );
    client.writer.send(b"0\r\nx-sum: 7\r\n\r\n").await.unwrap();
    assert_eq!(upload.next(&mut server.reader).await.unwrap(), None);
    assert_eq!(upload.trailers.one("x-sum"), Some("7"));
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n1\r\nz\r\n";
    server.writer.send(answer).await.unwrap();
    let head = client.reader.final_head().await.unwrap();
    let mut body = Body::of_answer(&head, "POST").unwrap();
    assert_eq!(
        body.next(&mut client.reader).await.unwrap().unwrap(),
        b"z",
        "nor is this one"
    );
    server.writer.send(b"0\r\nx-sum: 9\r\n\r\n").await.unwrap();
    assert_eq!(body.next(&mut client.reader).await.unwrap(), None);
    assert_eq!(body.trailers.one("x-sum"), Some("9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_upload_ends() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({})).await;
    let mut client = client(&up).await;
    let request = Request::new("POST", "/early", "web").with("content-length", "6");
    client.writer.send(&request.encode_head()).await.unwrap();
    client.writer.send(b"abc").await.unwrap();
    let head = client.reader.final_head().await.unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(client.reader.exact(5).await.unwrap(), b"early");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_problems() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({"max_body": 1000})).await;
    send(&up, &Request::new("GET", "/", "other"))
        .await
        .problem(404, "no-route");
    send(&up, &get("/a/../b")).await.problem(400, "bad-request");
    send(&up, &get("/a/%2e%2E/b")).await.problem(400, "bad-request");
    send(&up, &Request::new("CONNECT", "web:443", "web:443"))
        .await
        .problem(400, "bad-request");
    send(&up, &Request::new("POST", "/digest", "web").body(vec![b'x'; 1001]))
        .await
        .problem(413, "too-large");
    send(&up, &Request::new("POST", "/digest", "web").body(vec![b'x'; 1000]))
        .await
        .expect(200);
    let long = "x".repeat(70 * 1024);
    let head = Api::new(up.http()).send(&get("/").with("x-long", &long)).await;
    assert_eq!(head.status, 431);
    up.api().service("empty", json!({})).await;
    send(&up, &Request::new("GET", "/", "empty"))
        .await
        .problem(503, "no-upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_a_length_is_held_to_the_limit() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({"max_body": 1000})).await;
    let mut client = client(&up).await;
    let request = Request::new("POST", "/digest", "web").with("transfer-encoding", "chunked");
    client.writer.send(&request.encode_head()).await.unwrap();
    for _ in 0..3 {
        client.writer.chunk(&[b'x'; 500]).await.unwrap();
    }
    let head = client.reader.final_head().await.unwrap();
    assert_eq!(head.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_silent_or_absent_has_its_status() {
    let world = World::new();
    let script = Script::listen().await;
    let timeouts = json!({"timeouts": {"response": "400ms"}, "retries": {"attempts": 0}});
    let up = web(&world, script.address, &[], timeouts).await;
    let mut client = client(&up).await;
    client.writer.send(&get("/").encode()).await.unwrap();
    let (mut server, _, _) = script.request().await;
    let head = client.reader.final_head().await.unwrap();
    assert_eq!(
        (head.status, head.field("content-type")),
        (504, Some("application/problem+json"))
    );
    assert!(server.reader.ended().await, "the upstream request is cancelled");
    let dead = Script::listen().await.address;
    up.api().service("dead", json!({})).await;
    up.api().register("dead", "a", dead).await;
    let reply = send(&up, &Request::new("GET", "/", "dead")).await;
    assert!(matches!(reply.status, 502 | 503), "{}", reply.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_is_never_finished_as_if_whole() {
    let world = World::new();
    let script = Script::listen().await;
    let up = web(&world, script.address, &[], json!({"retries": {"attempts": 0}})).await;
    let cut = [
        "content-length: 10\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ];
    for broken in cut {
        let mut client = client(&up).await;
        client.writer.send(&get("/").encode()).await.unwrap();
        let (mut server, _, _) = script.request().await;
        server
            .writer
            .send(format!("HTTP/1.1 200 OK\r\n{broken}").as_bytes())
            .await
            .unwrap();
        let head = client.reader.final_head().await.unwrap();
        drop(server);
        let body = Body::of_answer(&head, "GET").unwrap().all(&mut client.reader).await;
        assert!(body.is_err(), "{broken}");
    }
    let mut client = client(&up).await;
    client.writer.send(&get("/").encode()).await.unwrap();
    let (mut server, _, _) = script.request().await;
    server.writer.send(b"HTTP/1.1 abc\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_processed_goes_elsewhere() {
    let world = World::new();
    let up = web(&world, origin::inside("alive").await, &[], json!({})).await;
    // As many as there are extra tries.
    for n in 0..2 {
        let refuses = Script::listen().await.address;
        up.api()
            .register("web", &format!("dead-{n}"), &refuses.to_string())
            .await;
    }
    for _ in 0..30 {
        let post = Request::new("POST", "/digest", "web").body("abc");
        let reply = send(&up, &post).await.expect(200);
        assert_eq!(reply.head.field("x-origin"), Some("alive"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_sent_twice() {
    let world = World::new();
    let (one, two) = (Script::listen().await, Script::listen().await);
    let up = web(&world, one.address, &[], json!({})).await;
    let mut client = client(&up).await;
    client
        .writer
        .send(&Request::new("POST", "/", "web").body("abc").encode())
        .await
        .unwrap();
    let (mut server, _, _) = one.request().await;
    assert_eq!(server.reader.exact(3).await.unwrap(), b"abc");
    up.api().register("web", "b", two.address).await;
    drop(server);
    assert_eq!(client.reader.final_head().await.unwrap().status, 502);
    assert!(two.is_left_alone(Duration::from_millis(200)).await);
    assert!(one.is_left_alone(Duration::from_millis(200)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_its_side_has_gone_unless_told_otherwise() {
    for half_close in [false, true] {
        let world = World::new();
        let script = Script::listen().await;
        let flags: &[&str] = if half_close { &["--half-close"] } else { &[] };
        let up = web(&world, script.address, flags, json!({})).await;
        let mut client = client(&up).await;
        client.writer.send(&get("/").encode()).await.unwrap();
        let (mut server, _, _) = script.request().await;
        client.writer.close().await.unwrap();
        if half_close {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            assert_eq!(client.reader.final_head().await.unwrap().status, 204);
        } else {
            assert!(server.reader.ended().await, "its request is cancelled");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_http2_is_not_passed_on() {
    let world = World::new();
    let up = web(&world, origin::inside("a").await, &[], json!({})).await;
    let request = get("/reflect")
        .with("connection", "upgrade, http2-settings")
        .with("upgrade", "h2c")
        .with("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA");
    let lines = reflected(&up, &request).await;
    assert!(
        values(&lines, "upgrade").is_empty() && values(&lines, "http2-settings").is_empty(),
        "{lines:?}"
    );
}

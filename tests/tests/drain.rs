//! No request in flight, no answer to DELETE: the order of the two, and what happens when one of them takes too long.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::node::Node;
use vulcan_tests::pattern;
use vulcan_tests::script::{Script, next_request};
use vulcan_tests::wire::{Body, Connection, Request};
use vulcan_tests::world::World;

/// Long enough for an answer that comes too early to come.
const EARLY: Duration = Duration::from_millis(700);

/// `up`, with one origin under the id `a` of the service `web`.
async fn web(settings: Value) -> (World, Node, Api, Script) {
    let world = World::new();
    let up = world.up(&[]).await;
    let (api, origin) = (up.api(), Script::listen().await);
    api.service("web", settings).await;
    api.register("web", "a", origin.address).await;
    (world, up, api, origin)
}

fn deleting(api: &Api, path: &str) -> JoinHandle<Reply> {
    let (api, path) = (api.clone(), path.to_owned());
    tokio::spawn(async move { api.delete(&path).await })
}

/// The write is committed, and still not answered.
async fn assert_unanswered(api: &Api, gone: &str, write: &JoinHandle<Reply>) {
    vulcan_tests::eventually("the write is committed", async || api.get(gone).await.status == 404).await;
    tokio::time::sleep(EARLY).await;
    assert!(!write.is_finished(), "DELETE is answered with a request in flight");
}

async fn client(node: &Node) -> Connection {
    Connection::connect(node.http()).await.unwrap()
}

/// A client that has asked the service `web` for something.
async fn asking(node: &Node) -> Connection {
    let mut client = client(node).await;
    let request = Request::new("GET", "/", "web").encode();
    client.writer.send(&request).await.unwrap();
    client
}

const TUNNEL: [(&str, &str); 2] = [("connection", "upgrade"), ("upgrade", "websocket")];

/// A tunnel through the proxy: its client's end and its origin's.
async fn tunnel(node: &Node, host: &str, origin: &Script) -> (Connection, Connection) {
    let mut client = client(node).await;
    let request = TUNNEL
        .iter()
        .fold(Request::new("GET", "/", host), |request, (name, value)| {
            request.with(name, value)
        });
    client.writer.send(&request.encode()).await.unwrap();
    let (mut server, _, fields) = origin.request().await;
    assert!(
        fields.lists("connection", "upgrade") && fields.one("upgrade") == Some("websocket"),
        "{fields:?}"
    );
    let accept = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    server.writer.send(accept).await.unwrap();
    assert_eq!(client.reader.head().await.unwrap().status, 101);
    (client, server)
}

async fn assert_echo(client: &mut Connection, server: &mut Connection) {
    client.writer.send(b"there").await.unwrap();
    assert_eq!(server.reader.exact(5).await.unwrap(), b"there");
    server.writer.send(b"back").await.unwrap();
    assert_eq!(client.reader.exact(4).await.unwrap(), b"back");
}

/// Whether the other end ended or reset it.
async fn is_cut(connection: &mut Connection) -> bool {
    match connection.reader.some(1).await {
        Ok(bytes) => bytes.is_empty(),
        Err(error) => error.kind() != std::io::ErrorKind::TimedOut,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_a_head_that_has_not_come() {
    let (_world, up, api, origin) = web(json!({})).await;
    let mut client = asking(&up).await;
    let (mut server, _, _) = origin.request().await;
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
    server
        .writer
        .send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await
        .unwrap();
    let head = client.reader.final_head().await.unwrap();
    assert_eq!(
        (head.status, client.reader.exact(2).await.unwrap().as_slice()),
        (200, b"ok".as_slice())
    );
    let reply = delete.await.unwrap().live();
    assert_eq!(reply.body["wait"]["for"], "drained");
    assert_eq!(
        reply.body["fleet"],
        json!({"members": 1, "reached": 1, "lagging": [], "refused": [], "warming": [],
        "draining": [], "detached": []})
    );
    assert!(
        server.reader.ended().await,
        "the idle connection to the origin is closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_the_last_byte_of_a_body() {
    let (_world, up, api, origin) = web(json!({})).await;
    for framing in ["content-length: 4", "transfer-encoding: chunked"] {
        api.register("web", "a", origin.address).await;
        let mut client = asking(&up).await;
        let (mut server, _, _) = origin.request().await;
        let (first, last) = match framing {
            "content-length: 4" => ("abc", "d"),
            _ => ("4\r\nabcd\r\n", "0\r\n\r\n"),
        };
        server
            .writer
            .send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{first}").as_bytes())
            .await
            .unwrap();
        let head = client.reader.final_head().await.unwrap();
        let delete = deleting(&api, "/v1/services/web/upstreams/a");
        assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
        server.writer.send(last.as_bytes()).await.unwrap();
        let body = Body::of_answer(&head, "GET")
            .unwrap()
            .all(&mut client.reader)
            .await
            .unwrap();
        assert_eq!(body, b"abcd");
        delete.await.unwrap().live();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_a_client_that_has_not_read() {
    let (_world, up, api, origin) = web(json!({})).await;
    let mut client = asking(&up).await;
    let (mut server, _, _) = origin.request().await;
    // More than all buffers on the way hold; the origin ends its connection as soon as it is rid of everything.
    let content = pattern::bytes(7, 48 << 20);
    let sent = content.clone();
    let sending = tokio::spawn(async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sent.len());
        server.writer.send(head.as_bytes()).await.unwrap();
        server.writer.send(&sent).await.unwrap();
    });
    let head = client.reader.final_head().await.unwrap();
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
    let body = Body::of_answer(&head, "GET")
        .unwrap()
        .all(&mut client.reader)
        .await
        .unwrap();
    assert!(body == content, "the body is not what was sent");
    sending.await.unwrap();
    delete.await.unwrap().live();
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_waits_for_an_upload() {
    let (_world, up, api, origin) = web(json!({})).await;
    let mut client = client(&up).await;
    client
        .writer
        .send(&Request::new("POST", "/", "web").with("content-length", "6").encode())
        .await
        .unwrap();
    client.writer.send(b"abc").await.unwrap();
    let (mut server, _, fields) = origin.request().await;
    assert_eq!(server.reader.exact(3).await.unwrap(), b"abc");
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
    client.writer.send(b"def").await.unwrap();
    assert_eq!(fields.length().unwrap(), Some(6));
    assert_eq!(server.reader.exact(3).await.unwrap(), b"def");
    assert!(!delete.is_finished());
    server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 204);
    delete.await.unwrap().live();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_registered_while_it_drained_is_named() {
    for id in ["a", "b"] {
        let (_world, up, api, origin) = web(json!({})).await;
        let mut client = asking(&up).await;
        let (mut server, _, _) = origin.request().await;
        let delete = deleting(&api, "/v1/services/web/upstreams/a");
        assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
        api.register("web", id, origin.address).await;
        server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        assert_eq!(client.reader.final_head().await.unwrap().status, 204);
        let reply = delete.await.unwrap().live();
        assert_eq!(
            reply.body["also_in"],
            json!([format!("web/{id}")]),
            "the address gets traffic again"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_request() {
    let (_world, up, api, origin) = web(json!({})).await;
    let client = asking(&up).await;
    let (mut server, _, _) = origin.request().await;
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
    drop(client);
    assert!(server.reader.ended().await, "the upstream request is cancelled");
    delete.await.unwrap().live();
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_that_outlive_the_timeout_are_counted() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &[]).await;
    let (api, origin) = (control.api(), Script::listen().await);
    api.service("web", json!({})).await;
    api.register("web", "a", origin.address).await;
    let mut first = tunnel(&fleet[0], "web", &origin).await;
    let second = tunnel(&fleet[0], "web", &origin).await;
    for _ in 0..2 {
        // Asked again, it waits again: an absent upstream that drains is not gone.
        let reply = api
            .delete("/v1/services/web/upstreams/a?timeout=1s")
            .await
            .problem(504, "wait-not-reached");
        assert_eq!(reply.body["committed"], true);
        assert_eq!(reply.body["wait"]["reached"], false);
        assert_eq!(
            reply.body["fleet"]["reached"], 1,
            "the other proxy has nothing in flight"
        );
        let draining = json!([{"proxy": "p1", "upstream": "web/a", "in_flight": 2}]);
        assert_eq!(reply.body["fleet"]["draining"], draining, "{}", reply.text);
        assert_echo(&mut first.0, &mut first.1).await;
    }
    let member = api.get("/v1/fleet/p1").await.expect(200);
    assert_eq!(
        member.body["draining"],
        json!([{"upstream": "web/a", "in_flight": 2}]),
        "{}",
        member.text
    );
    drop(second);
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    tokio::time::sleep(EARLY).await;
    assert!(!delete.is_finished(), "one tunnel is left");
    assert_echo(&mut first.0, &mut first.1).await;
    drop(first);
    delete.await.unwrap().live();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_timeout_cuts_what_remains() {
    let (_world, up, api, origin) = web(json!({"timeouts": {"drain": "1500ms"}})).await;
    let (mut tunnel_client, mut tunnel_server) = tunnel(&up, "web", &origin).await;
    let mut half = asking(&up).await;
    let (mut server, _, _) = origin.request().await;
    server
        .writer
        .send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        .await
        .unwrap();
    let head = half.reader.final_head().await.unwrap();
    let delete = deleting(&api, "/v1/services/web/upstreams/a");
    assert_unanswered(&api, "/v1/services/web/upstreams/a", &delete).await;
    assert_echo(&mut tunnel_client, &mut tunnel_server).await;
    delete.await.unwrap().live();
    assert!(is_cut(&mut tunnel_server).await && is_cut(&mut tunnel_client).await);
    let rest = Body::of_answer(&head, "GET").unwrap().all(&mut half.reader).await;
    assert!(rest.is_err(), "a cut body must not look whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_upstream_gets_nothing_while_it_drains() {
    let world = World::new();
    let up = world.up(&[]).await;
    let (api, old, new) = (up.api(), Script::listen().await, Script::listen().await);
    api.service("web", json!({})).await;
    api.register("web", "old", old.address).await;
    let (mut tunnel_client, mut tunnel_server) = tunnel(&up, "web", &old).await;
    api.register("web", "new", new.address).await;
    let reply = api.delete("/v1/services/web/upstreams/old?wait=applied").await.live();
    assert_eq!(reply.body["wait"]["for"], "applied");
    let mut client = client(&up).await;
    for _ in 0..20 {
        client
            .writer
            .send(&Request::new("GET", "/", "web").with("connection", "close").encode())
            .await
            .unwrap();
        let (mut server, _, _) = new.request().await;
        server
            .writer
            .send(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(client.reader.final_head().await.unwrap().status, 204);
        client = Connection::connect(up.http()).await.unwrap();
    }
    assert!(old.is_left_alone(Duration::from_millis(100)).await);
    assert_echo(&mut tunnel_client, &mut tunnel_server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_and_active_again_is_a_new_registration() {
    let (_world, up, api, origin) = web(json!({})).await;
    let ends = tunnel(&up, "web", &origin).await;
    let body = json!({"address": origin.address.to_string(), "state": "draining"});
    let reply = api
        .put("/v1/services/web/upstreams/a?timeout=1s", body.clone())
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(reply.body["wait"]["for"], "drained");
    let refused = Api::new(up.http())
        .send(&Request::new("GET", "/", "web"))
        .await
        .problem(503, "no-upstream");
    assert!(refused.body["detail"].is_string());
    let active = json!({"address": origin.address.to_string()});
    api.put("/v1/services/web/upstreams/a?wait=applied", active)
        .await
        .live();
    let mut client = asking(&up).await;
    let (mut server, _, _) = origin.request().await;
    server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 204);
    // The old registration drains on while the new one serves.
    let member = api.get("/v1/fleet").await.expect(200);
    assert_eq!(
        member.body["items"][0]["draining"],
        json!([{"upstream": "web/a", "in_flight": 1}]),
        "{}",
        member.text
    );
    drop(ends);
    api.put("/v1/services/web/upstreams/a", body).await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_weight_keeps_the_connections() {
    let world = World::new();
    let up = world.up(&["--workers", "1"]).await;
    let (api, origin) = (up.api(), Script::listen().await);
    api.service("web", json!({})).await;
    api.register("web", "a", origin.address).await;
    let mut client = client(&up).await;
    client
        .writer
        .send(&Request::new("GET", "/1", "web").encode())
        .await
        .unwrap();
    let (mut server, _, _) = origin.request().await;
    server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 204);
    let reply = api
        .patch("/v1/services/web/upstreams/a", json!({"weight": 7}))
        .await
        .live();
    assert_eq!(reply.body["wait"]["for"], "applied");
    client
        .writer
        .send(&Request::new("GET", "/2", "web").encode())
        .await
        .unwrap();
    let (line, _) = next_request(&mut server).await;
    assert_eq!(line.target, "/2", "the kept connection is used again");
    server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 204);
    api.patch("/v1/services/web/upstreams/a", json!({"weight": 0}))
        .await
        .live();
    Api::new(up.http())
        .send(&Request::new("GET", "/", "web"))
        .await
        .problem(503, "no-upstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_when_all_its_registrations_are() {
    let world = World::new();
    let up = world.up(&[]).await;
    let (api, origin) = (up.api(), Script::listen().await);
    for name in ["web", "shop"] {
        api.service(name, json!({})).await;
        api.register(name, "a", origin.address).await;
    }
    let (web, shop) = (tunnel(&up, "web", &origin).await, tunnel(&up, "shop", &origin).await);
    let path = format!("/v1/upstreams?address={}", origin.address);
    let reply = api
        .delete(&format!("{path}&timeout=1s"))
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(
        reply.body["fleet"]["draining"].as_array().unwrap().len(),
        2,
        "{}",
        reply.text
    );
    let delete = deleting(&api, &path);
    drop(web);
    tokio::time::sleep(EARLY).await;
    assert!(!delete.is_finished(), "the other service's tunnel is left");
    drop(shop);
    delete.await.unwrap().live();
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_service_drains_its_upstreams() {
    let (_world, up, api, origin) = web(json!({})).await;
    let ends = tunnel(&up, "web", &origin).await;
    let delete = deleting(&api, "/v1/services/web");
    assert_unanswered(&api, "/v1/services/web", &delete).await;
    Api::new(up.http())
        .send(&Request::new("GET", "/", "web"))
        .await
        .problem(404, "no-route");
    drop(ends);
    let reply = delete.await.unwrap().live();
    assert_eq!(reply.body["wait"]["for"], "drained");
}

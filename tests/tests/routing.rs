//! Which service and which upstream a request goes to, as it looks from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

async fn send(node: &Node, request: &Request) -> Reply {
    Api::new(node.http()).send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn load_goes_to_all_upstreams_but_those_of_weight_zero() {
    let world = World::new();
    let up = world.up(&[]).await;
    up.api().service("web", json!({"balance": "random"})).await;
    up.api().register("web", "a", origin::inside("a").await).await;
    up.api().register("web", "b", origin::inside("b").await).await;
    let path = "/v1/services/web/upstreams/c";
    let idle = json!({"address": origin::inside("c").await.to_string(), "weight": 0});
    up.api().put(path, idle).await.live();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let reply = send(&up, &Request::new("GET", "/bytes?n=2", "web")).await.expect(200);
        seen.insert(reply.head.field("x-origin").unwrap().to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_may_be_ipv6_or_named() {
    let world = World::new();
    let up = world.up(&[]).await;
    up.api().service("six", json!({})).await;
    let script = Script::listen_at("[::1]:0").await;
    // The id is the address, brackets, colons and all.
    let id = script
        .address
        .to_string()
        .replace('[', "%5B")
        .replace(']', "%5d")
        .replace(':', "%3A");
    up.api()
        .put_bare(&format!("/v1/services/six/upstreams/{id}"))
        .await
        .live();
    let mut client = Connection::connect(up.http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "six").encode())
        .await
        .unwrap();
    let (mut server, _, _) = script.request().await;
    server.writer.send(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 204);
    up.api().service("named", json!({})).await;
    up.api()
        .register("named", "a", &format!("localhost:{}", origin::inside("a").await.port()))
        .await;
    send(&up, &Request::new("GET", "/bytes?n=2", "named")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_particular_match_wins() {
    let world = World::new();
    let up = world.up(&[]).await;
    let matches = [
        ("any", json!({})),
        ("wild", json!({"hosts": ["*.example.org"]})),
        ("host", json!({"hosts": ["a.example.org"]})),
        ("prefix", json!({"hosts": ["a.example.org"], "path_prefix": "/v2"})),
        ("longer", json!({"hosts": ["a.example.org"], "path_prefix": "/v2/x"})),
        (
            "regex",
            json!({"hosts": ["a.example.org"], "path_regex": "/v2/x/[0-9]+"}),
        ),
        (
            "method",
            json!({"hosts": ["a.example.org"], "path_prefix": "/v2", "methods": ["PUT"]}),
        ),
        (
            "header",
            json!({"hosts": ["a.example.org"], "path_prefix": "/v2", "headers": {"x-tenant": "blue"}}),
        ),
        (
            "first",
            json!({"hosts": ["a.example.org"], "path_prefix": "/now", "priority": 5}),
        ),
    ];
    for (name, one) in matches {
        up.api()
            .put(&format!("/v1/services/{name}"), json!({"match": [one]}))
            .await
            .live();
        up.api().register(name, "a", origin::inside(name).await).await;
    }
    let host = "a.example.org";
    let asked = [
        (Request::new("GET", "/", "other"), "any"),
        (Request::new("GET", "/", "b.c.example.org"), "wild"),
        (Request::new("GET", "/", "example.org"), "any"),
        (Request::new("GET", "/", "A.Example.ORG.:80"), "host"),
        (Request::new("GET", "/v2", host), "prefix"),
        (Request::new("GET", "/v2/", host), "prefix"),
        (Request::new("GET", "/v2x", host), "host"),
        (Request::new("GET", "/%76%32/y?v2/x", host), "prefix"),
        (Request::new("GET", "/v2/x/y", host), "longer"),
        (Request::new("GET", "/v2/x/17", host), "regex"),
        (Request::new("GET", "/v2/x/17a", host), "longer"),
        (Request::new("PUT", "/v2", host), "method"),
        (Request::new("GET", "/v2", host).with("x-tenant", "blue"), "header"),
        (Request::new("GET", "/now/v2", host), "first"),
    ];
    for (request, expected) in asked {
        let reply = send(&up, &request).await;
        let asked = format!("{} {} {:?}", request.method, request.target, request.fields);
        assert_eq!(reply.head.field("x-origin"), Some(expected), "{asked}: {}", reply.text);
    }
}

//! `allow` and `deny`: who a client is, by IPv4, IPv6 and both at once, and behind a trusted proxy.

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::authserver::recorder::{Recorder, Said};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use crate::{by, guard};

async fn status(node: &Node, forwarded_for: &str) -> u16 {
    let request = by("user", "/reflect").with("x-forwarded-for", forwarded_for);
    let reply = Api::new(node.http()).send(&request).await;
    if reply.status == 403 {
        assert_eq!(reply.body["type"], "urn:vulcan:denied", "{}", reply.text);
    }
    reply.status
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let world = World::new();
    let up = world.up(&["--trusted", "127.0.0.0/8,10.0.0.0/8"]).await;
    let auth = Recorder::start(|_| Said::grant("t")).await;
    guard(&up.api(), auth.address, json!({})).await;
    let lists = json!({"allow": ["192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120"], "deny": ["192.0.2.7", "2001:db8:bad::/48"]});
    up.api().patch("/v1/services/web", lists).await.live();
    let shown = up.api().get("/v1/services/web").await.body;
    assert_eq!(
        shown["allow"],
        json!(["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"])
    );
    assert_eq!(shown["deny"], json!(["192.0.2.7/32", "2001:db8:bad::/48"]));
    for (client, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.7", 403),
        ("192.0.3.1", 403),
        ("2001:db8::1", 200),
        ("2001:db8:bad::1", 403),
        ("2001:db9::1", 403),
        ("::ffff:192.0.2.1", 200),
        ("::ffff:192.0.2.7", 403),
        ("[2001:db8::1]:4711", 200),
        ("192.0.2.1:4711", 200),
        ("198.51.100.9", 200),
        // What stands before an address that nobody vouches for is the client's own word.
        ("192.0.2.1, 203.0.113.1", 403),
        ("203.0.113.1, 192.0.2.1", 200),
        ("192.0.2.1, 10.1.1.1", 200),
        ("192.0.2.1, nonsense, 10.1.1.1", 403),
        ("", 403),
    ] {
        assert_eq!(status(&up, client).await, expected, "{client}");
    }
    // The authorizer hears of the same client, and not at all of who is refused by the lists.
    let ips: std::collections::BTreeSet<String> = auth
        .questions()
        .iter()
        .map(|question| question.told()["ip"].as_str().unwrap().to_owned())
        .collect();
    let expected = ["192.0.2.1", "198.51.100.9", "2001:db8::1"];
    assert_eq!(ips.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_says_who_the_client_is() {
    let world = World::new();
    let up = world.up(&[]).await;
    let auth = Recorder::start(|_| Said::grant("t")).await;
    guard(&up.api(), auth.address, json!({})).await;
    up.api()
        .patch("/v1/services/web", json!({"deny": ["127.0.0.1"]}))
        .await
        .live();
    assert_eq!(status(&up, "192.0.2.1").await, 403);
    up.api()
        .patch(
            "/v1/services/web",
            json!({"deny": ["192.0.2.1"], "allow": ["127.0.0.1"]}),
        )
        .await
        .live();
    assert_eq!(status(&up, "192.0.2.1").await, 200);
    assert_eq!(auth.last().told()["ip"], "127.0.0.1");
}

//! `upstreams: "any"`: an answer that names an address which nobody has registered.

use serde_json::json;
use vulcan_tests::authserver::recorder::{Recorder, Said};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;
use vulcan_tests::{eventually, origin};

use crate::{ask, by, guard};

async fn reached(node: &Node, path: &str) -> Option<String> {
    let reply = ask(node, &by("user", path)).await;
    let origin = reply.head.field("x-origin").map(str::to_owned);
    assert!(reply.status == 200 || origin.is_none(), "{}", reply.text);
    origin
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_reached_where_it_may_be_and_what_is_registered_goes_first() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &[]).await;
    let api = control.api();
    let registered = origin::inside("registered").await;
    let mut dies = world.origin("dies").await;
    let lives = world.origin("lives").await;
    let (both, mixed) = (
        format!("{},{}", dies.address, lives.address),
        format!("{},{registered}", dies.address),
    );
    let auth = Recorder::start(move |question| {
        let uri = question.told()["uri"].as_str().unwrap().to_owned();
        let upstream = match uri.split('?').nth(1) {
            Some("mixed") => &mixed,
            Some("invalid") => "10.0.0.1:99999",
            Some("everyone") => "0.0.0.0:80,224.0.0.1:80",
            _ => &both,
        };
        let body = json!({"auth_token": "t", "upstream": upstream}).to_string();
        Said::new("200 OK", "", &body)
    })
    .await;
    guard(&api, auth.address, json!({})).await;
    api.put("/v1/services/other", json!({"match": []})).await.live();
    api.register("other", "registered", registered).await.live();
    for node in &fleet {
        assert_eq!(reached(node, "/reflect").await, None, "nobody has registered it");
    }

    api.patch("/v1/authorizers/main", json!({"upstreams": "any"}))
        .await
        .live();
    assert_eq!(api.get("/v1/authorizers/main").await.body["upstreams"], "any");
    for node in &fleet {
        let mut seen = std::collections::BTreeSet::new();
        eventually("both are used", async || {
            seen.extend(reached(node, "/reflect").await);
            seen.len() == 2
        })
        .await;
        assert_eq!(reached(node, "/reflect?mixed").await.as_deref(), Some("registered"));
        ask(node, &by("user", "/reflect?invalid"))
            .await
            .problem(503, "authorizer-unavailable");
        ask(node, &by("user", "/reflect?everyone"))
            .await
            .problem(503, "no-upstream");
    }

    // It is passed over like any upstream that has died, and takes its part again when it is back.
    dies.kill();
    for node in &fleet {
        for _ in 0..20 {
            assert_eq!(reached(node, "/reflect").await.as_deref(), Some("lives"));
        }
    }
    let _again = world.origin_at("again", dies.address).await;
    for node in &fleet {
        eventually("it is used again", async || {
            reached(node, "/reflect").await.as_deref() == Some("again")
        })
        .await;
    }

    // A registration that takes nothing is one: the address is not used past it.
    let upstream = "/v1/services/other/upstreams/registered";
    let draining = json!({"address": registered.to_string(), "state": "draining"});
    api.put(upstream, draining).await.live();
    for node in &fleet {
        assert_eq!(reached(node, "/reflect?mixed").await.as_deref(), Some("again"));
    }
    api.patch("/v1/authorizers/main", json!({"upstreams": "registered"}))
        .await
        .live();
    for node in &fleet {
        assert_eq!(reached(node, "/reflect").await, None);
    }
}

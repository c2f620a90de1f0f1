//! A write through one control plane waits for the proxies that another one holds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::relay::Relay;
use vulcan_tests::world::World;

use super::{control_planes, urls};

async fn put(api: &Api, weight: u32, query: &str) -> vulcan_tests::api::Reply {
    let body = json!({"address": "127.0.0.1:9", "weight": weight});
    api.put(&format!("/v1/services/web/upstreams/a{query}"), body).await
}

/// Each proxy as this control plane shows it: name, state and who has its stream.
pub(super) async fn shown(api: &Api) -> Vec<(String, String, String)> {
    let fleet = api.get("/v1/fleet").await.expect(200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = fleet.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| (text(&item["name"]), text(&item["state"]), text(&item["control_plane"])))
        .collect()
}

pub(super) async fn sees(api: &Api, expected: &[(&str, &str, &Node)]) {
    let expected: Vec<(String, String, String)> = expected
        .iter()
        .map(|(name, state, plane)| ((*name).to_owned(), (*state).to_owned(), plane.admin().to_string()))
        .collect();
    eventually(&format!("the fleet is {expected:?}"), async || {
        shown(api).await == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_proxies_of_all_and_names_them() {
    let world = World::new();
    let store = Cassandra::shared().store();
    let planes = control_planes(&world, &store, 2).await;
    let (a, b) = (&planes[0], &planes[1]);
    let _p1 = world.proxy("p1", &a.api().url(), &[]).await;
    let p2 = world.proxy("p2", &b.api().url(), &[]).await;
    for api in [a.api(), b.api()] {
        sees(&api, &[("p1", "present", a), ("p2", "present", b)]).await;
    }
    a.api().service("web", json!({})).await;
    for (weight, api) in (1..).zip([a.api(), b.api(), a.api()]) {
        let reply = put(&api, weight, "").await.live();
        assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
    }
    // Only b can ask it.
    let view = a.api().get("/v1/fleet/p2").await.expect(200);
    let upstreams = json!([{"upstream": "web/a", "health": "up", "in_flight": 0}]);
    assert_eq!(view.body["upstreams"], upstreams, "{}", view.text);
    p2.freeze();
    let late = put(&a.api(), 50, "?timeout=2s").await.problem(504, "wait-not-reached");
    assert_eq!(late.named("lagging"), ["p2"], "{}", late.text);
    p2.thaw();
    let again = put(&a.api(), 51, "").await.live();
    assert_eq!(again.body["fleet"]["reached"], 2, "{}", again.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_one_costs_a_write_its_proxies_reconnect() {
    let world = World::new();
    let store = Cassandra::shared().store();
    let mut planes = control_planes(&world, &store, 2).await;
    let order = urls(&[&planes[1], &planes[0]]);
    let _p1 = world.proxy("p1", &order, &[]).await;
    let _p2 = world.proxy("p2", &order, &[]).await;
    planes[0].api().service("web", json!({})).await;
    put(&planes[0].api(), 1, "").await.live();
    planes[1].kill();
    let reply = put(&planes[0].api(), 2, "").await.live();
    assert_eq!(reply.body["fleet"]["members"], 2, "{}", reply.text);
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
    let (a, api) = (&planes[0], planes[0].api());
    sees(&api, &[("p1", "present", a), ("p2", "present", a)]).await;
}

/// The first is told by the second only through a relay that is cut.
#[tokio::test(flavor = "multi_thread")]
async fn without_word_from_one_whose_row_lives_its_proxies_are_waited_for() {
    let world = World::new();
    let store = Cassandra::shared().store();
    let first = control_planes(&world, &store, 1).await;
    let a = &first[0];
    let mut b = world.control_plane_on("b", &store, &["--advertise", "http://127.0.0.1:9"]);
    b.ready().await;
    let _p1 = world.proxy("p1", &a.api().url(), &["--lease", "3s"]).await;
    let p2 = world.proxy("p2", &b.api().url(), &["--lease", "3s"]).await;
    b.api().service("web", json!({})).await;
    let late = put(&a.api(), 1, "?timeout=8s").await.problem(504, "wait-not-reached");
    assert_eq!(
        late.named("lagging"),
        ["p2"],
        "its lease may be kept by b: {}",
        late.text
    );
    // The other way round the word gets through.
    let reply = put(&b.api(), 2, "").await.live();
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
    drop(p2);

    let relay = Relay::to(b.admin()).await;
    b.argue("--advertise", &relay.url());
    b.restart().await;
    let p2 = world.proxy("p2", &b.api().url(), &["--lease", "3s"]).await;
    eventually("b is heard through the relay", async || {
        put(&a.api(), 3, "?timeout=1s").await.status == 200
    })
    .await;
    drop(relay);
    drop(p2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_the_others_show() {
    let world = World::new();
    let planes = control_planes(&world, &Cassandra::shared().store(), 3).await;
    for (round, plane) in planes.iter().cycle().take(9).enumerate() {
        let name = format!("s{round}");
        let written = plane.api().service(&name, json!({})).await.revision();
        for other in &planes {
            eventually("it is shown everywhere", async || {
                let shown = other.api().get(&format!("/v1/services/{name}")).await;
                shown.status == 200 && shown.body["revision"] == written
            })
            .await;
        }
    }
    let histories: Vec<String> = {
        let mut all = Vec::new();
        for plane in &planes {
            all.push(plane.api().get("/v1/revisions?limit=1000").await.expect(200).text);
        }
        all
    };
    assert!(histories.windows(2).all(|pair| pair[0] == pair[1]), "{histories:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_planes_let_each_other_in_by_a_token_of_their_own() {
    let world = World::new();
    let store = Cassandra::shared().store();
    let (admin, peer, wrong) = (world.path("tokens.toml"), world.path("peer"), world.path("wrong"));
    // printf secret | sha256sum
    let sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    std::fs::write(
        &admin,
        format!("[[token]]\nname = \"ci\"\nsha256 = \"{sha256}\"\nrole = \"admin\"\n"),
    )
    .unwrap();
    std::fs::write(&peer, "among-control-planes\n").unwrap();
    std::fs::write(&wrong, "something-else\n").unwrap();
    let own = |name: &str, token: &std::path::Path| {
        let (admin, token) = (admin.to_str().unwrap(), token.to_str().unwrap());
        world.control_plane_on(name, &store, &["--tokens", admin, "--peer-token-file", token])
    };
    let mut a = own("a", &peer);
    a.ready().await;
    let secret = |node: &Node| node.api().with_token("secret");
    // Neither opens the other's door.
    let body = json!({"hello": {}});
    let by_admin = secret(&a).post("/v1/peers", body.clone()).await;
    by_admin.problem(401, "unauthenticated");
    let by_peer = a.api().with_token("among-control-planes").get("/v1/fleet").await;
    by_peer.problem(401, "unauthenticated");
    let known = a.api().with_token("among-control-planes").post("/v1/peers", body).await;
    known.problem(400, "malformed");

    std::fs::write(world.path("proxy-token"), "secret").unwrap();
    let token = world.path("proxy-token");
    let token = ["--token-file", token.to_str().unwrap()];
    let mut b = own("b", &wrong);
    b.ready().await;
    let _p1 = world.proxy("p1", &b.api().url(), &token).await;
    secret(&b).service("web", json!({})).await;
    let begun = Instant::now();
    put(&secret(&a), 1, "?timeout=2s")
        .await
        .problem(504, "wait-not-reached");
    b.argue("--peer-token-file", peer.to_str().unwrap());
    b.restart().await;
    eventually("b lets a in", async || {
        put(&secret(&a), 2, "?timeout=2s").await.status == 200
    })
    .await;
    assert!(begun.elapsed() > Duration::from_secs(1));
}

//! Cassandra stands still, or is not there: what goes on, what is answered, and how it ends.

use serde_json::json;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::beating::{Beating, expired, registration};
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::origin::Origin;
use vulcan_tests::world::World;

use super::{Store, the_node};

struct Scene {
    _world: World,
    link: Link,
    control: Node,
    proxy: Node,
    _origin: Origin,
    _store: Store,
}

impl Scene {
    async fn new() -> Scene {
        let world = World::new();
        let link = Link::to(the_node());
        let store = Store::empty().await;
        let mut control = world.control_plane_on("control", &store.at(link.address), &[]);
        control.ready().await;
        let proxy = world.proxy("p1", &control.api().url(), &[]).await;
        let origin = world.origin("one").await;
        let api = control.api();
        api.put("/v1/services/web", json!({"match": [{"hosts": ["*"]}]}))
            .await
            .live();
        api.register("web", "one", origin.address).await;
        Scene {
            _world: world,
            link,
            control,
            proxy,
            _origin: origin,
            _store: store,
        }
    }

    async fn write(&self, id: &str) -> Reply {
        let path = format!("/v1/services/web/upstreams/{id}");
        self.control
            .api()
            .put(&path, json!({"address": "127.0.0.1:9", "weight": 0}))
            .await
    }

    /// Reads, the stream and the proxy live on what is in memory.
    async fn goes_on(&self) {
        let api = self.control.api();
        api.get("/v1/services/web").await.expect(200);
        api.get("/v1/revisions?limit=5").await.expect(200);
        api.get("/readyz").await.expect(200);
        let fleet = api.get("/v1/fleet").await.expect(200);
        assert_eq!(fleet.body["items"][0]["state"], "present", "{}", fleet.text);
        assert_eq!(Api::new(self.proxy.http()).get("/reflect").await.status, 200);
    }

    /// Writes are taken again, and everything that was told is true.
    async fn recovers(&self, absent: &[&str]) {
        self.link.set(Mode::Pass);
        eventually("writes are taken again", async || {
            self.write("after").await.status == 200
        })
        .await;
        for id in absent {
            let path = format!("/v1/services/web/upstreams/{id}");
            self.control.api().get(&path).await.expect(404);
        }
    }
}

fn is_truthful(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text);
    assert!(reply.head.field("retry-after").is_some(), "{}", reply.text);
}

#[tokio::test]
async fn a_frozen_cassandra_stops_writes_only() {
    let scene = Scene::new().await;
    scene.link.set(Mode::Freeze);
    // In flight when it froze: nobody can know.
    let first = scene.write("first").await.problem(503, "outcome-unknown");
    is_truthful(&first);
    assert_eq!(first.body["committed"], "unknown");
    let op_id = first.body["op_id"].as_str().unwrap().to_owned();
    let second = scene.write("second").await.problem(503, "store-unavailable");
    is_truthful(&second);
    assert_eq!(second.body["committed"], false);
    // One that would change nothing asks for the true head.
    scene.write("nobody").await.expect(503);
    scene.goes_on().await;
    scene.recovers(&["second", "nobody"]).await;
    let found = scene
        .control
        .api()
        .get(&format!("/v1/revisions?op_id={op_id}"))
        .await
        .expect(200);
    let there = scene.control.api().get("/v1/services/web/upstreams/first").await.status;
    let committed = found.body["items"].as_array().is_some_and(|items| !items.is_empty());
    assert_eq!(there == 200, committed, "{}", found.text);
}

#[tokio::test]
async fn a_cassandra_that_is_gone_stops_writes_only() {
    let scene = Scene::new().await;
    scene.link.set(Mode::Refuse);
    is_truthful(&scene.write("first").await);
    let second = scene.write("second").await.problem(503, "store-unavailable");
    is_truthful(&second);
    assert_eq!(second.body["committed"], false);
    scene.goes_on().await;
    scene.recovers(&["second"]).await;
}

#[tokio::test]
async fn heartbeats_are_answered_without_a_store() {
    let scene = Scene::new().await;
    let api = scene.control.api();
    let body = registration("127.0.0.1:9", "3s");
    let path = |id: &str| format!("/v1/services/web/upstreams/{id}");
    let mut beating = Vec::new();
    for id in ["a", "b"] {
        api.put(&path(id), body.clone()).await.live();
        beating.push(Beating::start(&[api.clone()], &path(id), &body));
    }
    let silent = beating.pop();
    scene.link.set(Mode::Freeze);
    // Longer than a ttl, and than the row of a control plane is believed in.
    let before = beating[0].answers().len();
    beating[0].more(30).await;
    let answers = &beating[0].answers()[before..];
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    // What falls silent meanwhile stands until it can be unregistered.
    drop(silent);
    beating[0].more(10).await;
    api.get(&path("b")).await.expect(200);
    scene.link.set(Mode::Pass);
    eventually("the silent one is unregistered", async || {
        api.get(&path("b")).await.status == 404
    })
    .await;
    beating[0].more(8).await;
    assert_eq!(expired(&api).await, ["web/b"]);
}

#[tokio::test]
async fn a_lost_answer_costs_a_write_nothing_but_time() {
    let scene = Scene::new().await;
    scene.link.set(Mode::DropAnswers);
    let writing = scene.write("slow");
    let healing = async {
        eventually("an answer is lost", async || scene.link.dropped() > 0).await;
        scene.link.set(Mode::Pass);
    };
    let (written, ()) = tokio::join!(writing, healing);
    written.live();
    scene
        .control
        .api()
        .get("/v1/services/web/upstreams/slow")
        .await
        .expect(200);
}

#[tokio::test]
async fn a_start_waits_and_says_what_for() {
    let world = World::new();
    let link = Link::to(the_node());
    link.set(Mode::Refuse);
    let store = Store::empty().await;
    let mut control = world.control_plane_on("control", &store.at(link.address), &[]);
    eventually("it says what it waits for", async || {
        let logged = control.logged();
        logged.contains("waiting for Cassandra") && logged.contains(&link.address.to_string())
    })
    .await;
    assert!(control.running() && control.lines().is_empty());
    link.set(Mode::Pass);
    control.ready().await;
    control.terminate();
    assert_eq!(control.exit().await, Some(0));

    link.set(Mode::Refuse);
    control.start();
    eventually("it waits again", async || {
        control.logged().contains("waiting for Cassandra")
    })
    .await;
    control.terminate();
    assert_eq!(control.exit().await, Some(0), "waiting ends with a signal");
}

#[tokio::test]
async fn the_shared_node_is_as_operators_are_asked_to_have_it() {
    let store = Store::empty().await;
    let world = World::new();
    let mut control = world.control_plane_on("control", &store.url(), &[]);
    control.ready().await;
    control.terminate();
    assert_eq!(control.exit().await, Some(0));
    assert!(!control.logged().contains("paxos_variant"), "{}", control.logged());
}

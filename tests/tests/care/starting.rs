//! Deployments of servers that start slowly, and of a service's only server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::deploy::Deployment;
use vulcan_tests::dice::Dice;
use vulcan_tests::load::{Ledger, Load, Shape, Target};
use vulcan_tests::node::Node;
use vulcan_tests::origin::Start;
use vulcan_tests::process::PATIENCE;
use vulcan_tests::world::World;

const SHAPES: [Shape; 3] = [Shape::Short, Shape::Fresh, Shape::Post];
const SERVICES: u64 = 8;
/// Of each service.
const DEPLOYMENTS: u64 = 25;
const SLOW_MS_MAX: u64 = 400;
/// Of a service's only server.
const MOVES: usize = 100;

struct Scene {
    world: Arc<World>,
    api: Api,
    proxies: Vec<SocketAddr>,
    _nodes: (Node, Vec<Node>),
}

impl Scene {
    async fn new() -> Scene {
        let world = Arc::new(World::new());
        let (control, fleet) = world.fleet(2, &[]).await;
        Scene {
            world,
            api: control.api(),
            proxies: fleet.iter().map(Node::http).collect(),
            _nodes: (control, fleet),
        }
    }

    fn load(&self, service: &str, hurry: bool) -> Load {
        let target = Target {
            service: service.to_owned(),
            proxies: self.proxies.clone(),
            hurry,
        };
        Load::start(&target, &[SHAPES, SHAPES].concat(), Arc::default())
    }

    /// Registers servers that are well only after a while, and unregisters and kills the one before as soon as that is
    /// answered.
    async fn deploy(&self, service: &str, wait: &str, starts: impl Iterator<Item = Start>) -> Arc<Ledger> {
        let path = |id: &str| format!("/v1/services/{service}/upstreams/{id}");
        let mut old = self.world.origin(&format!("{service}-first")).await;
        self.api.register(service, &old.id, old.address).await;
        let load = self.load(service, false);
        for (round, start) in starts.enumerate() {
            let new = self.world.slow_origin(&format!("{service}-{round}"), start).await;
            let body = json!({"address": new.address.to_string()});
            let put = format!("{}?wait={wait}&timeout=60s", path(&new.id));
            let put = self.api.put(&put, body).await;
            assert_eq!(put.live().body["wait"]["for"], wait);
            self.api.delete(&path(&old.id)).await.live();
            old.kill();
            load.ledger.retire(&old.id);
            old = new;
        }
        Scene::asked_on(&load.ledger).await;
        load.stop().await
    }

    /// Waits for requests that find what there is now.
    async fn asked_on(ledger: &Ledger) {
        let asked = || ledger.done() + ledger.failed();
        let (begun, before) = (Instant::now(), asked());
        while asked() < before + 12 {
            assert!(begun.elapsed() < PATIENCE, "nobody asks");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Either kind of slowness, by turns.
fn slow(round: u64, ms: u64) -> Start {
    match round % 2 {
        0 => Start::Closed(ms),
        _ => Start::Unwell(ms),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_in_two_hundred_deployments_of_slow_starters() {
    let scene = Arc::new(Scene::new().await);
    let mut services = JoinSet::new();
    for seed in 0..SERVICES {
        let scene = scene.clone();
        services.spawn(async move {
            let service = format!("s{seed}");
            let check = json!({"path": "/status?code=200", "interval": "100ms"});
            scene.api.service(&service, json!({"health_check": check})).await;
            let mut dice = Dice::new(seed);
            let starts = (0..DEPLOYMENTS).map(|round| slow(round, dice.below(SLOW_MS_MAX)));
            scene.deploy(&service, "healthy", starts).await
        });
    }
    for ledger in services.join_all().await {
        println!("{}", ledger.report());
        ledger.assert_clean(&SHAPES);
    }
}

/// The load notices a server that is registered as if it were well.
#[tokio::test(flavor = "multi_thread")]
async fn slow_starters_that_nobody_waits_for_fail_requests() {
    let scene = Scene::new().await;
    let check = json!({"path": "/status?code=200", "interval": "100ms"});
    for (service, start, check) in [
        ("closed", Start::Closed(2_000), Value::Null),
        ("unwell", Start::Unwell(2_000), Value::Null),
        ("hasty", Start::Closed(2_000), check),
    ] {
        scene.api.service(service, json!({"health_check": check})).await;
        let ledger = scene.deploy(service, "applied", [start].into_iter()).await;
        assert!(ledger.failed() > 0, "{}", ledger.report());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_the_only_upstream_moves() {
    let scene = Arc::new(Scene::new().await);
    let check = json!({"path": "/status?code=200", "interval": "100ms"});
    let mut services = JoinSet::new();
    for (service, check) in [("checked", check), ("unchecked", Value::Null)] {
        let scene = scene.clone();
        services.spawn(async move {
            let settings = json!({"health_check": check, "retries": {"attempts": 0}});
            let deployment = Deployment::create(&scene.world, &scene.api, service, settings).await;
            let mut only = deployment.deploy().await;
            let load = scene.load(service, true);
            for _ in 0..MOVES {
                let new = deployment.start().await;
                let body = json!({"address": new.address.to_string()}).to_string();
                let put = scene.api.with_json("PUT", &deployment.upstream(&only.id), &body);
                let old = std::mem::replace(&mut only.origin, new);
                deployment.retire_by(&put, old, &load.ledger).await;
            }
            load.stop().await
        });
    }
    for ledger in services.join_all().await {
        println!("{}", ledger.report());
        ledger.assert_clean(&SHAPES);
    }
}

/// The load notices a moment without any.
#[tokio::test(flavor = "multi_thread")]
async fn between_two_registrations_there_is_no_upstream() {
    let scene = Scene::new().await;
    let deployment = Deployment::create(&scene.world, &scene.api, "gap", json!({})).await;
    let only = deployment.deploy().await;
    let load = scene.load("gap", true);
    deployment.retire(only, &load.ledger).await;
    vulcan_tests::eventually("it is noticed", async || load.ledger.failed() > 0).await;
    let _new = deployment.deploy().await;
    let done = load.ledger.done();
    vulcan_tests::eventually("it is over", async || load.ledger.done() > done + 20).await;
    let ledger = load.stop().await;
    assert!(ledger.report().contains("no-upstream"), "{}", ledger.report());
}

//! Upstreams that fail under load, each among three that are well.

use std::sync::Arc;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::load::{Ledger, Load, Shape, Target};
use vulcan_tests::node::Node;
use vulcan_tests::origin::{Fault, Origin};
use vulcan_tests::world::World;

use super::{health, listed};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Killed,
    /// It stands still, and its port takes connections.
    Frozen,
    Answers(Fault),
}

/// At each proxy; all without a pause between one request and the next.
pub const CLIENTS: [Shape; 5] = [Shape::Short, Shape::Short, Shape::Fresh, Shape::Post, Shape::Post];
pub const PROXIES: [&str; 2] = ["p1", "p2"];
/// Answered while the trouble lasts, at least.
const ANSWERS: u64 = 1_000;

struct Outcome {
    ledger: Arc<Ledger>,
    /// Requests that the upstream took while it was in trouble; none are known of one that was killed.
    arrived: Option<u64>,
    /// Requests that were answered meanwhile, by all.
    answered: u64,
}

impl Outcome {
    /// Of those that may be repeated.
    fn failed_gets(&self) -> u64 {
        self.ledger.failed_of(Shape::Short) + self.ledger.failed_of(Shape::Fresh)
    }
}

pub struct Scene {
    world: World,
    pub api: Api,
    _control: Node,
    fleet: Vec<Node>,
}

impl Scene {
    pub async fn new() -> Scene {
        let world = World::new();
        let (control, fleet) = world.fleet(PROXIES.len(), &[]).await;
        Scene {
            world,
            api: control.api(),
            _control: control,
            fleet,
        }
    }

    pub async fn origins(&self, service: &str) -> Vec<Origin> {
        let mut origins = Vec::new();
        for id in ["bad", "a", "b", "c"] {
            let origin = self.world.origin(&format!("{service}-{id}")).await;
            self.api.register(service, id, origin.address).await;
            origins.push(origin);
        }
        origins
    }

    pub fn load(&self, service: &str, shapes: &[Shape]) -> Load {
        let target = Target {
            service: service.to_owned(),
            proxies: self.fleet.iter().map(Node::http).collect(),
            hurry: true,
        };
        Load::start(&target, shapes, Arc::default())
    }

    /// Puts one of four into trouble and out of it again.
    async fn play(&self, trouble: Trouble, service: &'static str, retries: Value, clients: &[Shape]) -> Outcome {
        let timeouts = json!({"response": "1500ms"});
        let settings = json!({"timeouts": timeouts, "retries": retries});
        self.api.service(service, settings).await;
        let mut origins = self.origins(service).await;
        let load = self.load(service, clients);
        for origin in &mut origins {
            serves(origin).await;
        }
        let mut bad = origins.swap_remove(0);
        let answered = load.ledger.done();
        let before = begin(trouble, &mut bad).await;
        let expected = if trouble == Trouble::Killed { "down" } else { "ejected" };
        self.stands(&format!("{service}/bad"), expected).await;
        eventually("the others go on", async || load.ledger.done() >= answered + ANSWERS).await;
        let answered = load.ledger.done() - answered;
        let ledger = load.stop().await;
        let arrived = end(trouble, &mut bad, &self.world, before, ledger.failed()).await;
        let told = format!("{trouble:?}: {arrived:?} came to it while {answered} were answered");
        println!("{told}; {}", ledger.report());
        self.recovered(service, &mut bad).await;
        Outcome {
            ledger,
            arrived,
            answered,
        }
    }

    /// On every proxy.
    pub async fn stands(&self, upstream: &str, expected: &str) {
        for proxy in PROXIES {
            eventually(expected, async || health(&self.api, proxy, upstream).await == expected).await;
        }
    }

    /// Its recovery is seen by every proxy, and nothing fails any more.
    async fn recovered(&self, service: &str, bad: &mut Origin) {
        let load = self.load(service, &CLIENTS);
        serves(bad).await;
        self.stands(&format!("{service}/bad"), "up").await;
        assert_eq!(listed(&self.api, service, "bad").await, ["p1 up", "p2 up"]);
        load.stop().await.assert_clean(&CLIENTS);
    }
}

pub async fn serves(origin: &mut Origin) {
    let then = origin.count().await.received;
    eventually("it serves", async || origin.count().await.received > then + 50).await;
}

/// Tells how many requests it had taken by then.
async fn begin(trouble: Trouble, origin: &mut Origin) -> u64 {
    let count = match trouble {
        Trouble::Answers(fault) => origin.fault(Some(fault)).await,
        Trouble::Killed | Trouble::Frozen => origin.count().await,
    };
    match trouble {
        Trouble::Killed => origin.kill(),
        Trouble::Frozen => origin.freeze(),
        Trouble::Answers(_) => {}
    }
    count.received
}

/// Tells how many requests have come since then, of which so many failed.
async fn end(trouble: Trouble, origin: &mut Origin, world: &World, before: u64, failed: u64) -> Option<u64> {
    if trouble == Trouble::Killed {
        *origin = world.origin_at(&format!("{}-again", origin.id), origin.address).await;
        return None;
    }
    origin.thaw();
    origin.fault(None).await;
    let mut arrived = 0;
    eventually(
        "whatever failed was in flight there, and it has read what came",
        async || {
            let last = std::mem::replace(&mut arrived, origin.count().await.received - before);
            arrived == last && arrived >= failed
        },
    )
    .await;
    Some(arrived)
}

/// What no upstream has acted on, or may act on twice, fails for nobody; and without retries it does.
async fn one_of_four(trouble: Trouble) {
    let scene = Scene::new().await;
    // What fails once is left alone by all, who cannot go elsewhere: they are such that a failure counts.
    let control = scene
        .play(trouble, "once", json!({"attempts": 0}), &[Shape::Short; 4])
        .await;
    assert!(control.failed_gets() > 0, "{trouble:?}: the load does not notice");

    let outcome = scene.play(trouble, "web", json!({}), &CLIENTS).await;
    let ledger = &outcome.ledger;
    assert_eq!(ledger.missing(&CLIENTS), [], "{trouble:?}");
    assert_eq!(outcome.failed_gets(), 0, "{trouble:?}: {}", ledger.report());
    match outcome.arrived {
        // Hardly anything was in flight there.
        Some(arrived) => {
            let few = outcome.answered / 16;
            assert!(arrived < few, "{trouble:?}: {arrived} of {}", outcome.answered);
        }
        // Each of the four who post has one request under way, and the next one may meet a connection that is just ending.
        None => assert!(ledger.failed() <= 8, "{trouble:?}: {}", ledger.report()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed() {
    one_of_four(Trouble::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still() {
    one_of_four(Trouble::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_answers_garbage() {
    one_of_four(Trouble::Answers(Fault::Garbage)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_answers_end_within_their_heads() {
    one_of_four(Trouble::Answers(Fault::HalfHead)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_answers_end_within_their_bodies() {
    one_of_four(Trouble::Answers(Fault::HalfBody)).await;
}

/// On each proxy a service may retry once for every five requests, and ten times besides in ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn where_all_fail_retries_stay_within_their_budget() {
    let scene = Scene::new().await;
    for (service, attempts) in [("web", 10), ("once", 0)] {
        scene
            .api
            .service(service, json!({"retries": {"attempts": attempts}}))
            .await;
        let mut origins = scene.origins(service).await;
        for origin in &mut origins {
            origin.fault(Some(Fault::HalfHead)).await;
        }
        let began = tokio::time::Instant::now();
        let load = scene.load(service, &[Shape::Short; 4]);
        eventually("all fail", async || load.ledger.failed() >= 1_000).await;
        let ledger = load.stop().await;
        let windows = began.elapsed().as_secs() / 10 + 1;
        let requests = ledger.failed() + ledger.done();
        let mut attempted = 0;
        for origin in &mut origins {
            attempted += origin.count().await.received;
        }
        println!("{service}: {attempted} attempts for {requests} requests");
        assert_eq!(ledger.done(), 0);
        if attempts == 0 {
            assert_eq!(attempted, requests);
            continue;
        }
        let most = requests / 5 + PROXIES.len() as u64 * 10 * windows;
        let retries = attempted - requests;
        assert!(
            (requests / 10..=most).contains(&retries),
            "{retries} retries of at most {most} for {requests}"
        );
    }
}

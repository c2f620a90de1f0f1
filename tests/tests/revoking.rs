//! Revocations as upstreams see them: after the call has returned, nobody who was let in before it arrives, whatever
//! the proxies were doing. Tokens are numbers; the authorization server gives out the next one before the last is revoked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::authserver;
use vulcan_tests::node::Node;
use vulcan_tests::relay::Relay;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::witness::Witness;
use vulcan_tests::world::World;

const AT_ONCE: Duration = Duration::ZERO;
const LEASE: [&str; 2] = ["--lease", "2s"];
const REVOKE: &str = "/v1/authorizers/main/revoke";

/// A fleet with a service `web` behind `main`, whose only upstream is a witness.
struct Stage {
    world: World,
    control: Node,
    fleet: Vec<Node>,
    witness: Witness,
    users: PathBuf,
    /// What the authorization server gives out.
    token: u64,
}

struct Setting {
    web: Value,
    cache: Value,
    /// Of the authorization server.
    hesitation: Duration,
    /// Of the witness.
    answers_after: Duration,
    proxies: usize,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            web: json!({}),
            cache: json!({"ttl": "1h"}),
            hesitation: AT_ONCE,
            answers_after: AT_ONCE,
            proxies: 3,
        }
    }
}

impl Stage {
    async fn set(setting: Setting) -> Stage {
        let world = World::new();
        let (control, fleet) = world.fleet(setting.proxies, &["--workers", "2"]).await;
        let users = world.path("users");
        let stage = Stage {
            witness: Witness::start(setting.answers_after),
            users,
            token: 1,
            world,
            control,
            fleet,
        };
        stage.give_out(1);
        let (address, _) = authserver::hesitant(&stage.users, setting.hesitation).await;
        let api = stage.api();
        api.put("/v1/services/auth", json!({"match": []})).await.live();
        api.register("auth", "a", address).await.live();
        let authorizer = json!({"service": "auth", "timeout": "30s", "cache": setting.cache});
        api.put("/v1/authorizers/main", authorizer).await.live();
        let mut web = setting.web;
        web["authorizer"] = "main".into();
        api.service("web", web).await.live();
        api.register("web", "a", stage.witness.address).await.live();
        stage
    }

    fn api(&self) -> Api {
        self.control.api()
    }

    /// Whole or not at all: it is read at any moment.
    fn give_out(&self, token: u64) {
        let new = self.world.path("users.new");
        std::fs::write(&new, format!("api:apikey {token}\n")).unwrap();
        std::fs::rename(&new, &self.users).unwrap();
    }

    /// Takes the token of now back, in one way or another; the call is under way. Gives that token, too.
    fn begin_revoking(&mut self, query: &str) -> (u64, JoinHandle<Reply>) {
        let gone = self.token;
        self.token += 1;
        self.give_out(self.token);
        let body = match gone % 3 {
            0 => json!({}),
            1 => json!({"username": "api"}),
            _ => json!({"auth_token": gone.to_string()}),
        };
        let (api, path) = (self.api(), format!("{REVOKE}{query}"));
        (gone, tokio::spawn(async move { api.post(&path, body).await }))
    }

    async fn revoke(&mut self, query: &str) -> (u64, Reply) {
        let (gone, call) = self.begin_revoking(query);
        (gone, call.await.unwrap())
    }

    /// Until requests arrive with the token of now, so that it is remembered when it is revoked.
    async fn passes(&self) {
        vulcan_tests::eventually("requests pass with the new token", async || {
            self.witness.tally().newest == self.token
        })
        .await;
    }

    /// Revokes again and again; fails at the first request that comes after its call has returned.
    async fn revoke_in_a_row(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.passes().await;
            let (gone, reply) = self.revoke("").await;
            reply.live();
            let tally = self.witness.gone(gone);
            assert_eq!(tally.late, 0, "{tally:?}");
        }
        self.passes().await;
        assert_eq!(self.witness.tally().late, 0);
    }

    /// By so many at every proxy.
    fn load(&self, users: usize) -> Load {
        Load::on(self.fleet.iter().map(Node::http), users)
    }
}

fn request() -> Request {
    Request::new("GET", "/", "web").with("authorization", "Basic YXBpOmFwaWtleQ==")
}

/// The token that a request of now arrives with.
async fn carried(at: SocketAddr) -> u64 {
    Api::new(at).send(&request()).await.expect(200).text.parse().unwrap()
}

/// Users who never pause, each with a connection of its own.
struct Load {
    stop: CancellationToken,
    users: JoinSet<u64>,
}

impl Load {
    fn on(proxies: impl Iterator<Item = SocketAddr>, each: usize) -> Load {
        let stop = CancellationToken::new();
        let mut users = JoinSet::new();
        for at in proxies.flat_map(|at| std::iter::repeat_n(at, each)) {
            users.spawn(ask(at, stop.clone()));
        }
        Load { stop, users }
    }

    /// Every request of everybody was answered 200.
    async fn end(self) {
        self.stop.cancel();
        let passed = self.users.join_all().await;
        assert!(passed.iter().all(|passed| *passed > 0), "{passed:?}");
    }
}

async fn ask(at: SocketAddr, stop: CancellationToken) -> u64 {
    let mut connection = Connection::connect(at).await.unwrap();
    let mut passed = 0;
    while !stop.is_cancelled() {
        let (head, body) = connection.exchange(&request()).await.unwrap();
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&body));
        passed += 1;
    }
    passed
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_old_arrives_after_the_call_has_returned() {
    let mut stage = Stage::set(Setting::default()).await;
    let load = stage.load(4);
    stage.revoke_in_a_row(60).await;
    load.end().await;
}

/// What the others are blind for if it does not fail.
#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_or_revoking_old_tokens_do_arrive() {
    let mut stage = Stage::set(Setting::default()).await;
    let load = stage.load(4);
    stage.passes().await;
    let kept = stage.token;
    stage.witness.gone(kept);
    vulcan_tests::eventually("what was not revoked goes on arriving", async || {
        stage.witness.tally().late > 0
    })
    .await;
    let mut late = 0;
    for _ in 0..200 {
        stage.passes().await;
        let (gone, reply) = stage.revoke("?wait=none").await;
        reply.expect(202);
        let before = stage.witness.gone(gone).late;
        stage.passes().await;
        late += stage.witness.tally().late - before;
        if late > 0 {
            break;
        }
    }
    assert!(late > 0, "the witness is blind");
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_of_those_who_waited_for_a_place() {
    let mut stage = Stage::set(Setting {
        web: json!({"upstream_care": {"max_in_flight": 1, "queue": 100, "queue_for": "30s"}}),
        answers_after: Duration::from_millis(2),
        ..Setting::default()
    })
    .await;
    let load = stage.load(4);
    stage.revoke_in_a_row(20).await;
    load.end().await;
}

/// Every request causes a call, or waits for one that is under way, and each takes longer than a revocation.
#[tokio::test(flavor = "multi_thread")]
async fn nor_of_those_whom_the_authorizer_was_just_asked_about() {
    let mut stage = Stage::set(Setting {
        cache: json!({"ttl": "0s"}),
        hesitation: Duration::from_millis(30),
        ..Setting::default()
    })
    .await;
    let load = stage.load(4);
    stage.revoke_in_a_row(20).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_through_a_proxy_that_stood_still() {
    let mut stage = Stage::set(Setting::default()).await;
    let load = stage.load(4);
    for round in 0..8 {
        stage.passes().await;
        stage.fleet[2].freeze();
        let (gone, reply) = match round % 2 {
            // It comes back while the call waits for it.
            0 => {
                let (gone, call) = stage.begin_revoking("");
                tokio::time::sleep(Duration::from_millis(150)).await;
                stage.fleet[2].thaw();
                (gone, call.await.unwrap())
            }
            // The call gives up, names it, and another says when it holds.
            _ => {
                let (gone, reply) = stage.revoke("?timeout=100ms").await;
                let lagging = reply.expect(504).named("lagging");
                assert!(lagging.contains(&"p3".to_owned()), "{lagging:?}");
                stage.fleet[2].thaw();
                (gone, stage.api().post(REVOKE, json!({"username": "nobody"})).await)
            }
        };
        assert_eq!(reply.live().body["fleet"]["reached"], 3);
        stage.witness.gone(gone);
    }
    stage.passes().await;
    assert_eq!(stage.witness.tally().late, 0);
    load.end().await;
}

/// It serves what it knows, and is named in the answer; once it is back, it forgets what was revoked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nor_through_a_proxy_that_was_cut_off_once_it_is_back() {
    let mut stage = Stage::set(Setting {
        proxies: 2,
        ..Setting::default()
    })
    .await;
    let relay = Relay::to(stage.control.admin()).await;
    let third = stage.world.proxy("p3", &relay.url(), &LEASE).await;
    stage.fleet.push(third);
    let load = stage.load(4);
    for _ in 0..2 {
        stage.passes().await;
        let at = stage.fleet[2].http();
        assert_eq!(carried(at).await, stage.token);
        relay.cut();
        let (gone, reply) = stage.revoke("").await;
        let reply = reply.live();
        assert_eq!(reply.named("detached"), ["p3"], "{}", reply.text);
        assert_eq!(carried(at).await, gone, "it serves on");
        for node in &stage.fleet[..2] {
            assert_eq!(carried(node.http()).await, stage.token);
        }
        relay.mend();
        vulcan_tests::eventually("p3 is back", async || {
            let member = stage.api().get("/v1/fleet/p3").await.body;
            member["state"] == "present" && member["lag"] == 0
        })
        .await;
        stage.witness.gone(gone);
        assert_eq!(carried(at).await, stage.token);
    }
    stage.passes().await;
    assert_eq!(stage.witness.tally().late, 0);
    load.end().await;
}

/// Far more than are told apart; what concerns nobody costs nobody an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_in_a_row_hinder_nobody() {
    let mut stage = Stage::set(Setting::default()).await;
    let load = stage.load(1);
    let memory = |stage: &Stage| stage.fleet.iter().map(Node::memory).max().unwrap_or_default();
    let mut before = 0;
    for number in 0..1_000 {
        let body = match number % 2 {
            0 => json!({"username": format!("nobody-{number}")}),
            _ => json!({"auth_token": format!("nothing-{number}")}),
        };
        stage.api().post(REVOKE, body).await.live();
        if number == 300 {
            before = memory(&stage);
        }
    }
    assert_eq!(stage.witness.tally().newest, 1);
    let after = memory(&stage);
    assert!(after < before + (16 << 20), "{before} bytes have become {after}");
    stage.revoke_in_a_row(3).await;
    load.end().await;
}

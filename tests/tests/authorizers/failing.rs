//! Authorization servers that die, stand still, are taken away, and come back; and what goes on without them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::authserver::Authserver;
use vulcan_tests::authserver::recorder::{Question, Recorder, Said};
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use crate::{ask, by, guard};

/// `user0` to `user499`, each with a token of its own.
fn users(world: &World) -> PathBuf {
    let path = world.path("users");
    let lines = (0..500).map(|n| format!("user{n}:secret token{n}\n"));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

/// Clients that never pause, and whose every request is let in, until they are told to stop.
struct Regulars {
    is_over: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Regulars {
    /// One for each user.
    fn start(node: &Node, users: std::ops::Range<usize>) -> Regulars {
        let (is_over, passed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut clients = JoinSet::new();
        for n in users {
            let (at, is_over, passed) = (node.http(), is_over.clone(), passed.clone());
            clients.spawn(async move {
                while !is_over.load(SeqCst) {
                    let reply = Api::new(at)
                        .send(&by(&format!("user{n}"), "/reflect"))
                        .await
                        .expect(200);
                    assert!(
                        reply.text.contains(&format!("x-vulcan-auth-token: token{n}\n")),
                        "{}",
                        reply.text
                    );
                    passed.fetch_add(1, SeqCst);
                }
            });
        }
        Regulars {
            is_over,
            passed,
            clients,
        }
    }

    /// Until so many more have passed, each with the right token.
    async fn go_on(&self, requests: usize) {
        let until = self.passed.load(SeqCst) + requests;
        eventually("the regulars go on", async || {
            assert!(!self.clients.is_empty());
            self.passed.load(SeqCst) >= until
        })
        .await;
    }

    /// Fails if one of them was ever refused.
    async fn stop(self) {
        self.is_over.store(true, SeqCst);
        self.clients.join_all().await;
    }
}

/// Known users go on, others are told 503, and it is over when the server is back.
async fn goes_away_under_load(away: fn(&mut Authserver), back: impl AsyncFn(&World, Authserver) -> Authserver) {
    let world = World::new();
    let users = users(&world);
    let up = world.up(&["--workers", "2"]).await;
    let mut server = Authserver::start(&users, "127.0.0.1:0", &world.path("auth.log")).await;
    guard(
        &up.api(),
        server.address,
        json!({"timeout": "10s", "cache": {"ttl": "1h"}}),
    )
    .await;
    let regulars = Regulars::start(&up, 0..6);
    regulars.go_on(60).await;
    let brief = json!({"timeout": "2s"});
    // Those known before are asked about again: the authorizer is another.
    up.api().patch("/v1/authorizers/main", brief).await.live();
    regulars.go_on(60).await;

    away(&mut server);
    for n in 100..105 {
        let told = ask(&up, &by(&format!("user{n}"), "/reflect")).await;
        let told = told.problem(503, "authorizer-unavailable");
        assert_eq!(told.head.field("retry-after"), Some("1"));
        regulars.go_on(12).await;
    }
    let _server = back(&world, server).await;
    eventually("it recovers by itself", async || {
        ask(&up, &by("user105", "/reflect")).await.status == 200
    })
    .await;
    for n in 100..105 {
        ask(&up, &by(&format!("user{n}"), "/reflect")).await.expect(200);
    }
    regulars.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed() {
    goes_away_under_load(Authserver::kill, async |world, server| {
        let (users, at) = (world.path("users"), server.address.to_string());
        Authserver::start(&users, &at, &world.path("again.log")).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_still() {
    goes_away_under_load(
        |server| server.freeze(),
        async |_, server| {
            server.thaw();
            server
        },
    )
    .await;
}

/// Requests are answered while the question is open that renews what they are answered by.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_use_is_renewed_before_its_end() {
    let world = World::new();
    let up = world.up(&[]).await;
    let asked_before = AtomicBool::new(false);
    let auth = Recorder::start(move |_| match asked_before.swap(true, SeqCst) {
        false => Said::grant("token0"),
        true => Said::grant("token0").after(Duration::from_millis(500)),
    })
    .await;
    guard(&up.api(), auth.address, json!({"cache": {"ttl": "10s"}})).await;
    let regulars = Regulars::start(&up, 0..1);
    regulars.go_on(1).await;
    let mut meanwhile = 0;
    // On a machine that stands still just then the answer ends first, and requests wait.
    for renewals in 1..=5 {
        auth.asked(1 + renewals).await;
        while auth.open() > 0 {
            ask(&up, &by("user0", "/reflect")).await.expect(200);
            meanwhile += usize::from(auth.open() > 0);
        }
        assert_eq!(auth.count(), 1 + renewals, "one question for all");
        if renewals > 1 && meanwhile > 0 {
            break;
        }
    }
    assert!(meanwhile > 0, "all waited");
    regulars.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_is_used_while_there_is_no_other() {
    let world = World::new();
    let users = users(&world);
    let up = world.up(&[]).await;
    let mut server = Authserver::start(&users, "127.0.0.1:0", &world.path("auth.log")).await;
    let settings = json!({"timeout": "2s", "cache": {"ttl": "1s", "stale": "1h"}});
    guard(&up.api(), server.address, settings).await;
    ask(&up, &by("user0", "/reflect")).await.expect(200);
    server.kill();
    // Long enough for the answer to be stale, whatever the machine does.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let regulars = Regulars::start(&up, 0..1);
    regulars.go_on(50).await;
    ask(&up, &by("user1", "/reflect"))
        .await
        .problem(503, "authorizer-unavailable");
    regulars.stop().await;
    up.api().post("/v1/authorizers/main/revoke", json!({})).await.live();
    ask(&up, &by("user0", "/reflect"))
        .await
        .problem(503, "authorizer-unavailable");
    let again = Authserver::start(&users, &server.address.to_string(), &world.path("again.log")).await;
    eventually("it recovers by itself", async || {
        ask(&up, &by("user0", "/reflect")).await.status == 200
    })
    .await;
    drop(again);
}

fn grants(question: &Question) -> Said {
    let told = question.told();
    let user = told["username"].as_str().unwrap();
    Said::grant(&user.replace("user", "token"))
}

/// Two are asked in turn; one is unregistered, and dies when that is answered: nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_is_taken_away_under_load() {
    let world = World::new();
    let up = world.up(&["--workers", "2"]).await;
    let users = users(&world);
    let (stays, mut goes) = (
        Recorder::start(grants).await,
        Authserver::start(&users, "127.0.0.1:0", &world.path("auth.log")).await,
    );
    guard(&up.api(), stays.address, json!({"cache": {"ttl": "0s"}})).await;
    let regulars = Regulars::start(&up, 0..6);
    regulars.go_on(30).await;
    up.api().register("auth", "b", goes.address).await.live();
    let before = (stays.count(), regulars.passed.load(SeqCst));
    regulars.go_on(200).await;
    let of_stays = stays.count() - before.0;
    let all = regulars.passed.load(SeqCst) - before.1;
    let is_a_part = of_stays > all / 10 && of_stays < all * 9 / 10;
    assert!(is_a_part, "they are not asked in turn: {of_stays} of {all}");
    up.api().delete("/v1/services/auth/upstreams/b").await.live();
    goes.kill();
    regulars.go_on(100).await;
    regulars.stop().await;
}

/// The control: killed without being unregistered, it is missed.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_in_its_service_is_noticed() {
    let world = World::new();
    let up = world.up(&[]).await;
    let users = users(&world);
    let stays = Recorder::start(grants).await;
    let mut goes = Authserver::start(&users, "127.0.0.1:0", &world.path("auth.log")).await;
    guard(&up.api(), stays.address, json!({"cache": {"ttl": "0s"}})).await;
    let once = json!({"retries": {"attempts": 0}});
    up.api().patch("/v1/services/auth", once).await.live();
    up.api().register("auth", "b", goes.address).await.live();
    goes.kill();
    eventually("somebody misses it", async || {
        ask(&up, &by("user0", "/reflect")).await.status == 503
    })
    .await;
}

/// A check finds out that one of two stands still; from then on nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_that_stands_still_is_found_out() {
    let world = World::new();
    let up = world.up(&[]).await;
    let users = users(&world);
    let start = async |log: &str| Authserver::start(&users, "127.0.0.1:0", &world.path(log)).await;
    let (well, still) = (start("well.log").await, start("still.log").await);
    guard(
        &up.api(),
        well.address,
        json!({"timeout": "500ms", "cache": {"ttl": "0s"}}),
    )
    .await;
    let check = json!({"path": "/healthz", "interval": "200ms", "timeout": "100ms", "unhealthy_after": 2});
    let checked = json!({"match": [], "health_check": check});
    up.api().put("/v1/services/auth", checked).await.live();
    up.api().register("auth", "b", still.address).await.live();
    still.freeze();
    let mut in_a_row = 0;
    eventually("it is left alone", async || {
        let told = ask(&up, &by("user0", "/reflect")).await;
        in_a_row = if told.status == 200 { in_a_row + 1 } else { 0 };
        in_a_row >= 40
    })
    .await;
    still.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_has_registered_is_not_waited_for() {
    let world = World::new();
    let up = world.up(&[]).await;
    let auth = Recorder::start(grants).await;
    // Longer than any test waits.
    guard(
        &up.api(),
        auth.address,
        json!({"timeout": "60s", "cache": {"ttl": "0s"}}),
    )
    .await;
    ask(&up, &by("user0", "/reflect")).await.expect(200);
    let upstream = "/v1/services/auth/upstreams/a";
    let address = auth.address.to_string();
    for gone in [
        json!({"address": address, "state": "draining"}),
        json!({"address": address, "weight": 0}),
    ] {
        up.api().put(upstream, gone).await.live();
        let told = ask(&up, &by("user0", "/reflect")).await;
        told.problem(503, "authorizer-unavailable");
    }
    up.api().delete(upstream).await.live();
    ask(&up, &by("user0", "/reflect"))
        .await
        .problem(503, "authorizer-unavailable");
    up.api().register("auth", "a", auth.address).await.live();
    ask(&up, &by("user0", "/reflect")).await.expect(200);
}

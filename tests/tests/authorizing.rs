//! Authorization as it looks from outside: the walk of docs/authorizing.md on a fleet of real processes, one call for
//! many, an authorizer that dies, and revocations under load.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::json;
use tokio::task::JoinSet;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::authserver::{self, Asked, Authserver};
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

/// api:apikey
const API: &str = "Basic YXBpOmFwaWtleQ==";
/// api:wrong
const WRONG: &str = "Basic YXBpOndyb25n";

fn users(world: &World, listed: &str) -> std::path::PathBuf {
    let path = world.path("users");
    std::fs::write(&path, listed).unwrap();
    path
}

async fn ask(node: &Node, credentials: &str) -> Reply {
    let request = Request::new("GET", "/reflect", "web").with("x-vulcan-auth-token", "forged");
    let request = match credentials {
        "" => request,
        credentials => request.with("authorization", credentials),
    };
    Api::new(node.http()).send(&request).await
}

/// A service `web` behind an authorizer that reads this file.
async fn guarded(api: &Api, users: &Path, settings: serde_json::Value) -> Arc<Asked> {
    let (address, asked) = authserver::inside(users).await;
    guarded_by(api, address, settings).await;
    asked
}

async fn guarded_by(api: &Api, address: SocketAddr, settings: serde_json::Value) {
    api.put("/v1/services/auth", json!({"match": []})).await.live();
    api.register("auth", "a", address).await.live();
    let mut authorizer = json!({"service": "auth"});
    authorizer
        .as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    api.put("/v1/authorizers/main", authorizer).await.live();
    // Hundreds connect at once, and who is slow to accept is not what is asked about here.
    let web = json!({"authorizer": "main", "timeouts": {"connect": "30s"}});
    api.service("web", web).await.live();
    api.register("web", "a", origin::inside("a").await).await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_allowed_revoked() {
    let world = World::new();
    let users = users(&world, "api:apikey user@example.com\n");
    let (control, fleet) = world.fleet(3, &[]).await;
    let asked = guarded(&control.api(), &users, json!({"timeout": "10s"})).await;
    for node in &fleet {
        let unasked = ask(node, "").await.expect(401);
        assert_eq!(unasked.body["type"], "urn:vulcan:unauthorized");
        let challenge = unasked.head.field("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"vulcan\", charset=\"UTF-8\""));
        assert!(ask(node, WRONG).await.expect(403).text.starts_with("no such user"));
        for _ in 0..3 {
            let passed = ask(node, API).await.expect(200).text;
            assert!(passed.contains("x-vulcan-auth-token: user@example.com\n"), "{passed}");
            assert!(!passed.contains("forged"), "{passed}");
        }
    }
    assert_eq!(asked.count(), 6, "one refusal and one grant on each");

    std::fs::write(&users, "").unwrap();
    for node in &fleet {
        ask(node, API).await.expect(200);
    }
    let revoke = json!({"auth_token": "user@example.com"});
    let revoked = control.api().post("/v1/authorizers/main/revoke", revoke).await.live();
    assert_eq!(revoked.body["fleet"]["reached"], 3);
    for node in &fleet {
        ask(node, API).await.expect(403);
    }
    let history = control.api().get("/v1/revisions?limit=1000").await.text;
    assert!(!history.contains("user@example.com"), "a token in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_at_once_are_one_call() {
    let world = World::new();
    let users = users(&world, "api:apikey token\n");
    let up = world.up(&["--workers", "2"]).await;
    let asked = guarded(&up.api(), &users, json!({"timeout": "30s"})).await;
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        let at = up.http();
        clients.spawn(async move {
            let request = Request::new("GET", "/reflect", "web").with("authorization", API);
            Api::new(at).send(&request).await.status
        });
    }
    let statuses = clients.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(asked.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_does_without_the_authorizer_and_others_do_not_hang() {
    let world = World::new();
    let users = users(&world, "api:apikey token\n");
    let up = world.up(&[]).await;
    let start = async |listen: &str, log: &str| Authserver::start(&users, listen, &world.path(log)).await;
    let mut server = start("127.0.0.1:0", "first.log").await;
    guarded_by(&up.api(), server.address, json!({"timeout": "5s"})).await;
    let ask_for = async |path: &str| {
        let request = Request::new("GET", path, "web").with("authorization", API);
        Api::new(up.http()).send(&request).await
    };
    ask_for("/reflect").await.expect(200);
    server.kill();
    for _ in 0..10 {
        ask_for("/reflect").await.expect(200);
        let unknown = ask_for("/reflect?unknown").await.expect(503);
        assert_eq!(unknown.body["type"], "urn:vulcan:authorizer-unavailable");
    }
    let _server = start(&server.address.to_string(), "second.log").await;
    vulcan_tests::eventually("it recovers by itself", async || {
        ask_for("/reflect?unknown").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_was_away_hears_of_the_revocation() {
    let world = World::new();
    let users = users(&world, "api:apikey token\n");
    let (control, mut fleet) = world.fleet(1, &[]).await;
    guarded(&control.api(), &users, json!({"timeout": "10s"})).await;
    let mut proxy = fleet.remove(0);
    ask(&proxy, API).await.expect(200);
    std::fs::write(&users, "").unwrap();
    proxy.freeze();
    let path = "/v1/authorizers/main/revoke?timeout=100ms";
    control.api().post(path, json!({})).await.expect(504);
    proxy.thaw();
    control
        .api()
        .post("/v1/authorizers/main/revoke", json!({}))
        .await
        .live();
    ask(&proxy, API).await.expect(403);
    proxy.restart().await;
    ask(&proxy, API).await.expect(403);
}

/// Every answer that begins after a revocation returned is a refusal, on three proxies that never pause.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_after_a_revocation_has_returned() {
    let world = World::new();
    let granted = "api:apikey token\n";
    let users = users(&world, granted);
    let (control, fleet) = world.fleet(3, &[]).await;
    let settings = json!({"timeout": "30s", "cache": {"negative_ttl": "0s"}});
    guarded(&control.api(), &users, settings).await;
    for _ in 0..5 {
        std::fs::write(&users, granted).unwrap();
        let is_revoked = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for at in fleet.iter().map(Node::http).flat_map(|at| [at; 4]) {
            let is_revoked = is_revoked.clone();
            clients.spawn(async move {
                let mut passed = 0;
                loop {
                    let was_revoked = is_revoked.load(SeqCst);
                    let request = Request::new("GET", "/reflect", "web").with("authorization", API);
                    match Api::new(at).send(&request).await.status {
                        200 if was_revoked => panic!("passed after the revocation"),
                        200 => passed += 1,
                        403 if was_revoked => return passed,
                        403 => {}
                        other => panic!("{other}"),
                    }
                }
            });
        }
        for node in &fleet {
            vulcan_tests::eventually("load passes", async || ask(node, API).await.status == 200).await;
        }
        std::fs::write(&users, "").unwrap();
        let revoke = json!({"username": "api"});
        control.api().post("/v1/authorizers/main/revoke", revoke).await.live();
        is_revoked.store(true, SeqCst);
        let passed = clients.join_all().await;
        assert!(passed.iter().sum::<u32>() > 0, "the load never passed");
    }
}

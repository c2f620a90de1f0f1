//! What happens when a process is killed, or stands still, or its network is cut.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vulcan_tests::api::Api;
use vulcan_tests::deploy::Deployment;
use vulcan_tests::load::{Load, Outages, SHAPES, Target};
use vulcan_tests::node::Node;
use vulcan_tests::relay::Relay;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const WEB: &str = "/v1/services/web";
const LEASE: [&str; 2] = ["--lease", "2s"];
/// Longer than that lease and the control plane's margin of 2 s.
const BEYOND_LEASE: Duration = Duration::from_secs(6);

async fn ask(node: &Node, host: &str) -> u16 {
    Api::new(node.http())
        .send(&Request::new("GET", "/bytes?n=10", host))
        .await
        .status
}

/// Writes numbers, without end; each is changed by nobody else.
async fn write_numbers(api: Api, writer: usize, stop: CancellationToken) -> Option<u64> {
    let mut acknowledged = None;
    for n in 0.. {
        let body = json!({"match": [], "max_body": n}).to_string();
        let request = api.with_json("PUT", &format!("/v1/services/w{writer}"), &body);
        match api.try_send(&request).await {
            Ok(reply) if reply.status == 200 => acknowledged = Some(n),
            Ok(reply) => assert!(matches!(reply.status, 503 | 504), "{}", reply.text),
            Err(_) => break,
        }
        if stop.is_cancelled() {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_control_plane_loses_no_acknowledged_write() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    let api = control.api();
    for round in 0..5_u64 {
        let stop = CancellationToken::new();
        let mut writers = Vec::new();
        for writer in 0..6 {
            writers.push(tokio::spawn(write_numbers(api.clone(), writer, stop.clone())));
        }
        tokio::time::sleep(Duration::from_millis(150 + 77 * round)).await;
        control.kill();
        stop.cancel();
        control.start();
        control.ready().await;
        let mut some = false;
        for (writer, task) in writers.into_iter().enumerate() {
            let Some(acknowledged) = task.await.unwrap() else {
                continue;
            };
            some = true;
            let kept = api.get(&format!("/v1/services/w{writer}")).await.expect(200).body["max_body"]
                .as_u64()
                .unwrap();
            // One more may have been committed without its answer getting through.
            assert!(
                kept >= acknowledged,
                "w{writer}: {acknowledged} was acknowledged, {kept} is kept"
            );
        }
        assert!(some, "nothing was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fails_while_the_control_plane_is_away() {
    let world = Arc::new(World::new());
    let (mut control, mut fleet) = world.fleet(3, &[]).await;
    let api = control.api();
    let web = Deployment::create(&world, &api, "web", json!({})).await;
    let mut live = web.deploy_all(2).await;
    let outages = Arc::new(Outages::default());
    let target = Target {
        service: "web".to_owned(),
        proxies: fleet.iter().map(Node::http).collect(),
        hurry: false,
    };
    let load = Load::start(&target, &SHAPES, outages.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    control.kill();

    // A proxy that starts without it serves what it has on disk, after a while, and says how old that is.
    outages.begin(0);
    fleet[0].restart().await;
    outages.end(0);
    assert_eq!(ask(&fleet[0], "web").await, 200);
    let readiness = Api::new(fleet[0].status()).get("/readyz").await.expect(200);
    assert_eq!(readiness.body["stale"], true, "{}", readiness.text);
    // One that never had a table is not ready, and never says so.
    let newcomer = world.proxy_launched("newcomer", &api.url(), &[]);

    // The third is not there when the control plane returns: a write must wait for it all the same.
    outages.begin(2);
    fleet[2].freeze();
    control.start();
    control.ready().await;
    let body = json!({"match": [{"hosts": ["web"]}], "max_body": "20MB"});
    let reply = api
        .put(&format!("{WEB}?timeout=3s"), body.clone())
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(reply.named("lagging"), ["p3"], "{}", reply.text);
    assert_eq!(reply.named("detached"), Vec::<String>::new());
    fleet[2].thaw();
    // The same write, and now it has reached everyone.
    api.put(WEB, body).await.live();
    assert_eq!(api.get(WEB).await.revision(), reply.revision());
    outages.end(2);
    web.retire(live.pop_front().unwrap(), &load.ledger).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ledger = load.stop().await;
    ledger.assert_clean(&SHAPES);
    drop(newcomer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_a_table_waits_for_its_first() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    control.kill();
    let url = format!("http://{}", control.admin());
    let mut proxy = world.proxy_launched("p1", &url, &[]);
    proxy.listening("status").await;
    // Longer than a proxy with a table waits for a control plane.
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    assert_eq!(proxy.probe("/readyz").await, 503);
    assert_eq!(proxy.probe("/healthz").await, 200);
    assert!(
        !proxy
            .lines()
            .iter()
            .any(|line| line == "ready" || line.starts_with("listening http"))
    );
    control.start();
    control.ready().await;
    proxy.ready().await;
    proxy.readiness(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_the_control_plane_empties_no_room() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &LEASE).await;
    let api = control.api();
    api.put(WEB, json!({"match": [{"hosts": ["web"]}]})).await.live();
    control.freeze();
    tokio::time::sleep(BEYOND_LEASE).await;
    // Nobody is there when it goes on: all leases it had granted have ended meanwhile, and count anew.
    fleet.iter().for_each(Node::freeze);
    control.thaw();
    let reply = api
        .put(&format!("{WEB}?timeout=1s"), json!({"match": []}))
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(reply.named("lagging"), ["p1", "p2"], "{}", reply.text);
    fleet.iter().for_each(Node::thaw);
    let reply = api.put(WEB, json!({"match": []})).await.live();
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
}

/// Services whose names no compression shortens, so that a snapshot weighs something.
async fn fill(api: &Api, count: u64) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_u64 {
        let api = api.clone();
        writers.spawn(async move {
            for n in (writer..count).step_by(8) {
                let name: String = vulcan_tests::pattern::bytes(n, 28)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let path = format!("/v1/services/s{name}?wait=none");
                // A disk that is slow for a moment leaves it unknown; asked again, it is as it should be.
                for _ in 0..10 {
                    if api.put(&path, json!({"match": []})).await.status == 202 {
                        break;
                    }
                }
            }
        });
    }
    writers.join_all().await;
    api.put(WEB, json!({"match": [{"hosts": ["web"]}]})).await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_stands_still_is_named_then_detached_and_catches_up() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    fill(&api, 600).await;
    let relay = Relay::to(control.admin()).await;
    let first = world.proxy("p1", &api.url(), &LEASE).await;
    let second = world.proxy("p2", &relay.url(), &LEASE).await;
    let snapshot = relay.returned();
    assert!(snapshot > 12_000, "a snapshot of {snapshot} bytes tells nothing");
    second.freeze();
    let body = |n: u64| json!({"match": [{"hosts": ["web"]}], "max_body": n});
    let reply = api
        .put(&format!("{WEB}?timeout=2s"), body(1))
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(
        (reply.named("lagging"), reply.body["fleet"]["reached"].clone()),
        (vec!["p2".to_owned()], json!(1))
    );
    tokio::time::sleep(BEYOND_LEASE).await;
    for n in 2..=5 {
        let reply = api.put(WEB, body(n)).await.live();
        assert_eq!(
            (reply.named("detached"), reply.named("lagging")),
            (vec!["p2".to_owned()], vec![]),
            "{}",
            reply.text
        );
    }
    let before = relay.returned();
    second.thaw();
    vulcan_tests::eventually("p2 has caught up", async || {
        let member = api.get("/v1/fleet/p2").await.body;
        member["state"] == "present" && member["lag"] == 0
    })
    .await;
    let caught_up = relay.returned() - before;
    assert!(
        caught_up < snapshot / 2,
        "{caught_up} bytes to catch up, a snapshot has {snapshot}"
    );
    let reply = api.put(WEB, body(6)).await.live();
    assert_eq!(reply.body["fleet"]["reached"], 2, "{}", reply.text);
    assert_eq!(first.probe("/readyz").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_lease_does_what_was_asked_for() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    let url = control.api().url();
    control
        .api()
        .put(WEB, json!({"match": [{"hosts": ["web"]}]}))
        .await
        .live();
    let mut proxies = Vec::new();
    for what in ["serve", "unready", "stop"] {
        proxies.push(
            world
                .proxy(what, &url, &["--lease", "2s", "--on-lease-end", what])
                .await,
        );
    }
    control.kill();
    for (proxy, expected) in proxies.iter().zip([200, 503, 503]) {
        vulcan_tests::eventually("the lease ends", async || {
            let reply = Api::new(proxy.status()).get("/readyz").await;
            reply.status == 503 || reply.body["stale"] == true
        })
        .await;
        assert_eq!(proxy.probe("/readyz").await, expected, "{}", proxy.name);
    }
    // No upstream, but an answer: it still serves.
    assert_eq!(
        (ask(&proxies[0], "web").await, ask(&proxies[1], "web").await),
        (503, 503)
    );
    let stopped = proxies[2].http();
    vulcan_tests::eventually("the listeners are closed", async || {
        vulcan_tests::wire::Connection::connect(stopped).await.is_err()
    })
    .await;
    control.start();
    control.ready().await;
    for proxy in &proxies {
        proxy.readiness(200).await;
        vulcan_tests::eventually("it serves again", async || {
            let request = Request::new("GET", "/", "web");
            Api::new(proxy.http())
                .try_send(&request)
                .await
                .is_ok_and(|reply| reply.status == 503)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_belongs_to_one_data_directory() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(1, &LEASE).await;
    let api = control.api();
    let url = api.url();
    let body = |n: u64| json!({"match": [{"hosts": ["web"]}], "max_body": n});
    // The same instance comes back at once, however often.
    for n in 0..3 {
        fleet[0].restart().await;
        let reply = api.put(WEB, body(n)).await.live();
        let of_one = (&reply.body["fleet"]["members"], &reply.body["fleet"]["reached"]);
        assert_eq!(of_one, (&Value::from(1), &Value::from(1)), "{}", reply.text);
    }
    // Another data directory, the same name.
    let mut impostor = world.proxy_in("impostor", "p1", &url, &LEASE);
    vulcan_tests::eventually("the impostor is refused", async || {
        impostor.logged().contains("refuses this proxy: 409")
    })
    .await;
    assert!(!impostor.lines().contains(&"ready".to_owned()), "the name is taken");
    let reply = api.put(WEB, body(9)).await.live();
    assert_eq!(reply.body["fleet"]["members"], 1, "{}", reply.text);
    fleet[0].kill();
    impostor.ready().await;
    assert_eq!(ask(&impostor, "web").await, 503);
}

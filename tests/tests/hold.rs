//! A fail-over under load, by hold and resume, on fleets of real processes: what is held is quiet, nobody fails, and a
//! hold has an end whatever becomes of whoever began it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::binary;
use vulcan_tests::load::{Ledger, Load, Outages, Shape, Target};
use vulcan_tests::node::Node;
use vulcan_tests::origin::Origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

const HOLD: &str = "/v1/services/web/hold";
const RESUME: &str = "/v1/services/web/resume";
/// Short ones and long ones, some that may not be repeated, and one that is no request any more.
const SHAPES: [Shape; 5] = [Shape::Short, Shape::Fresh, Shape::Post, Shape::Upload, Shape::Tunnel];

/// How many fail-overs; `VULCAN_FAIL_OVERS` asks for another number.
fn wanted() -> u32 {
    std::env::var("VULCAN_FAIL_OVERS").map_or(20, |wanted| wanted.parse().expect("a number"))
}

/// For what could go wrong to happen; nothing is asserted of it.
async fn while_it_is_so() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn load(proxies: &[Node], hurry: bool) -> Load {
    let target = Target {
        service: "web".to_owned(),
        proxies: proxies.iter().map(Node::http).collect(),
        hurry,
    };
    Load::start(&target, &SHAPES, Arc::new(Outages::default()))
}

/// A fleet with a service `web`, and its only upstream in a process of its own.
async fn deployed(world: &World, proxies: usize) -> (Node, Vec<Node>, Origin) {
    let (control, proxies) = world.fleet(proxies, &[]).await;
    control.api().service("web", json!({})).await;
    let origin = world.origin("db-0").await;
    control.api().register("web", "db", origin.address).await;
    (control, proxies, origin)
}

/// The upstream dies and comes back as another, at the same address.
async fn fail_over(world: &World, mut old: Origin, n: u32) -> Origin {
    old.kill();
    while_it_is_so().await;
    world.origin_at(&format!("db-{n}"), old.address).await
}

async fn prolonged(ledger: &Ledger) {
    let before = ledger.done();
    vulcan_tests::eventually("the load goes on", async || ledger.done() >= before + 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_fails_nobody() {
    let world = World::new();
    let (control, proxies, mut origin) = deployed(&world, 3).await;
    let load = load(&proxies, false);
    for n in 1..=wanted() {
        prolonged(&load.ledger).await;
        let held = control.api().post(HOLD, json!({"max": "60s"})).await.live();
        assert_eq!(held.body["wait"]["for"], "drained");
        assert_eq!(held.body["fleet"]["reached"], 3);
        assert_eq!(origin.mark().await.in_flight, 0, "round {n}");
        while_it_is_so().await;
        let count = origin.count().await;
        assert_eq!((count.after, count.in_flight), (0, 0), "round {n}");
        origin = fail_over(&world, origin, n).await;
        assert_eq!(origin.count().await.received, 0, "round {n}");
        control.api().post(RESUME, json!({})).await.live();
    }
    prolonged(&load.ledger).await;
    let ledger = load.stop().await;
    println!("{}", ledger.report());
    ledger.assert_clean(&SHAPES);
}

/// The control: whoever does not wait for the answer catches some in the act.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_wait_requests_are_under_way() {
    let world = World::new();
    let (control, proxies, mut origin) = deployed(&world, 3).await;
    let load = load(&proxies, true);
    let mut caught = 0;
    for n in 1..=10 {
        prolonged(&load.ledger).await;
        control
            .api()
            .post(&format!("{HOLD}?wait=none"), json!({}))
            .await
            .expect(202);
        caught += origin.mark().await.in_flight;
        origin = fail_over(&world, origin, n).await;
        control.api().post(RESUME, json!({})).await.live();
        if caught > 0 && load.ledger.failed() > 0 {
            break;
        }
    }
    let ledger = load.stop().await;
    assert!(caught > 0, "the test above is blind");
    assert!(ledger.failed() > 0, "{}", ledger.report());
}

async fn waiting(proxy: &Node) -> Option<u64> {
    let metrics = Api::new(proxy.status()).get("/metrics").await.text;
    let mut lines = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("vulcan_held_requests "));
    lines.next()?.parse().ok()
}

/// Somebody holds it, and every proxy knows.
async fn held_everywhere(control: &Node) {
    vulcan_tests::eventually("it is held", async || control.api().get(HOLD).await.status == 200).await;
    vulcan_tests::eventually("it is held everywhere", async || {
        let fleet = control.api().get("/v1/fleet").await.body;
        let items = fleet["items"].as_array().unwrap();
        items.iter().all(|proxy| proxy["applied"] == fleet["head"])
    })
    .await;
}

/// A request through each proxy, once all of them wait.
async fn asked(proxies: &[Node]) -> Vec<JoinHandle<Reply>> {
    let ask = |proxy: &Node| {
        let at = Api::new(proxy.http());
        tokio::spawn(async move { at.send(&Request::new("GET", "/reflect", "web")).await })
    };
    let asked = proxies.iter().map(ask).collect();
    for proxy in proxies {
        vulcan_tests::eventually("the request waits", async || waiting(proxy).await == Some(1)).await;
    }
    asked
}

async fn all_answered(asked: Vec<JoinHandle<Reply>>) {
    for answer in asked {
        answer.await.unwrap().expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_caller_is_killed_ends_by_itself() {
    let world = World::new();
    let (control, proxies, _origin) = deployed(&world, 3).await;
    // Something is under way for longer than the caller lives.
    let slow = slow(&proxies[0], 2_000).await;
    let mut caller = binary::vulcan()
        .args(["hold", "web", "--max", "10s", "--url", &control.api().url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    held_everywhere(&control).await;
    caller.kill().unwrap();
    let caller = caller.wait_with_output().unwrap();
    assert!(caller.stdout.is_empty(), "it was answered before it died");
    let held = asked(&proxies).await;
    all_answered(held).await;
    slow.await.unwrap().expect(200);
    vulcan_tests::eventually("the hold is gone", async || control.api().get(HOLD).await.status == 404).await;
    let history = control.api().get("/v1/revisions?limit=1000").await.body;
    let holds: Vec<&Value> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|commit| commit["ops"][0]["kind"] == "hold")
        .collect();
    let ops: Vec<&Value> = holds.iter().map(|commit| &commit["ops"][0]["verb"]).collect();
    assert_eq!(ops, ["put", "delete"], "once each");
    assert_eq!(holds[1]["actor"], "hold-max");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_proxies_let_go_by_themselves() {
    let world = World::new();
    let (mut control, mut proxies, _origin) = deployed(&world, 3).await;
    control.api().post(HOLD, json!({"max": "15s"})).await.live();
    control.kill();
    all_answered(asked(&proxies).await).await;
    // From disk it is held anew, for longer than this proxy looks for a control plane, and has an end as well.
    proxies[0].kill();
    proxies[0].start();
    proxies[0].ready().await;
    all_answered(asked(&proxies[..1]).await).await;
    // A control plane that starts counts anew, and ends it for everybody.
    control.start();
    control.ready().await;
    vulcan_tests::eventually("the hold is gone", async || control.api().get(HOLD).await.status == 404).await;
}

/// A request through this proxy that takes its time, once it is in flight.
async fn slow(proxy: &Node, ms: u32) -> JoinHandle<Reply> {
    let at = Api::new(proxy.http());
    let slow = tokio::spawn(async move {
        let request = Request::new("GET", &format!("/bytes?n=10&head={ms}"), "web");
        at.send(&request).await
    });
    vulcan_tests::eventually("it is in flight", async || {
        let metrics = Api::new(proxy.status()).get("/metrics").await.text;
        metrics.contains("vulcan_upstream_in_flight{")
    })
    .await;
    slow
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_somebody_else_ends_is_answered_then() {
    let world = World::new();
    let (control, proxies, _origin) = deployed(&world, 1).await;
    let slow = slow(&proxies[0], 3_000).await;
    let api = control.api();
    let holding = tokio::spawn(async move { api.post(HOLD, json!({"max": "10m"})).await });
    held_everywhere(&control).await;
    let held = asked(&proxies).await;
    control.api().post(RESUME, json!({})).await.live();
    all_answered(held).await;
    let ended = holding.await.unwrap().expect(504);
    let detail = ended.body["detail"].as_str().unwrap();
    assert!(detail.ends_with("the hold has ended"), "{detail}");
    slow.await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_not_quiet_in_time_names_who_is_not_and_stands() {
    let world = World::new();
    let (control, proxies, _origin) = deployed(&world, 2).await;
    let slow = slow(&proxies[1], 3_000).await;
    let late = control
        .api()
        .post(&format!("{HOLD}?timeout=200ms"), json!({}))
        .await
        .expect(504);
    assert_eq!(late.body["type"], "urn:vulcan:wait-not-reached");
    let draining = json!([{"proxy": "p2", "upstream": "web/db", "in_flight": 1}]);
    assert_eq!(
        (&late.body["fleet"]["draining"], &late.body["committed"]),
        (&draining, &json!(true))
    );
    let held = asked(&proxies).await;
    // Held again it is waited for again.
    control.api().post(HOLD, json!({})).await.live();
    slow.await.unwrap().expect(200);
    assert_eq!(waiting(&proxies[0]).await, Some(1), "those who waited still do");
    control.api().post(RESUME, json!({})).await.live();
    all_answered(held).await;
}

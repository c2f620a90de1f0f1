//! A backup made on one control plane and restored elsewhere: what is in it, who follows it, and what a restore that breaks
//! off leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use shared::change::{Body, Epoch, Kind, Op, Revision, Verb};
use shared::snapshot::{self, Scope};
use shared::state::State;
use vulcan_tests::api::Api;
use vulcan_tests::binary;
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

/// For what must not happen to happen.
const SETTLED: Duration = Duration::from_secs(3);

fn vulcan(args: &[&str]) -> Output {
    binary::vulcan().args(args).output().unwrap()
}

#[track_caller]
fn done(output: Output) -> Output {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(why), "{said}");
    assert!(output.stdout.is_empty());
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `vulcan backup` says of it.
fn backup(control: &Node, file: &Path) -> Value {
    let url = control.api().url();
    let args = ["backup", "-o", text(file), "--url", &url, "--output", "json"];
    serde_json::from_slice(&done(vulcan(&args)).stdout).unwrap()
}

fn restore(store: &Path, more: &[&str], file: &Path) -> Output {
    let store = format!("redb:{}", store.display());
    let args = [&["restore", "--store", &store], more, &[text(file)]].concat();
    vulcan(&args)
}

async fn answers(proxy: &Node, host: &str) -> u16 {
    let at = Api::new(proxy.http());
    let asked = at.try_send(&Request::new("GET", "/bytes?n=2", host)).await;
    asked.map_or(0, |reply| reply.status)
}

async fn serve(api: &Api, service: &str) {
    api.service(service, json!({})).await;
    api.register(service, "a", origin::inside(service).await).await;
}

async fn presence(control: &Node) -> Value {
    control.api().get("/v1/fleet/p1").await.body["state"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_stands_elsewhere_and_the_fleet_follows_with_consent() {
    let world = World::new();
    let (mut control, mut proxies) = world.fleet(1, &["--lease", "1s"]).await;
    let mut proxy = proxies.pop().unwrap();
    let api = control.api();
    serve(&api, "web").await;
    let file = world.path("saved.snapshot");
    let saved = backup(&control, &file);
    assert_eq!(saved["objects"], 3, "a service, an upstream, a proxy");
    assert_eq!(saved["revision"], api.get("/v1/fleet").await.body["head"]);
    assert_eq!(saved["epoch"], api.get("/v1/fleet").await.body["epoch"]);
    let shown = api.get("/v1/services/web/upstreams/a").await.body;
    serve(&api, "later").await;
    control.kill();

    // Without consent it is another store, however alike.
    let epoch = saved["epoch"].as_str().unwrap();
    done(restore(&world.store("alike"), &[], &file));
    let alike = world.control_plane("alike", &[]).await;
    let again = backup(&alike, &world.path("again.snapshot"));
    assert_eq!(
        (&again["digest"], &again["revision"]),
        (&saved["digest"], &saved["revision"])
    );
    assert_ne!(again["epoch"], saved["epoch"]);
    assert_eq!(alike.api().get("/v1/services/web/upstreams/a").await.body, shown);
    proxy.argue("--controlplane", &alike.api().url());
    proxy.restart().await;
    eventually("it refuses the stranger", async || {
        proxy.logged().contains("refuses this proxy: 409")
    })
    .await;
    tokio::time::sleep(SETTLED).await;
    assert_eq!(
        (answers(&proxy, "web").await, answers(&proxy, "later").await),
        (200, 200)
    );
    assert_ne!(presence(&alike).await, "present");

    let restored = done(restore(
        &world.store("heir"),
        &["--succeed", epoch, "--output", "json"],
        &file,
    ));
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(
        (&restored["digest"], &restored["succeeds"]),
        (&saved["digest"], &saved["epoch"])
    );
    let mut heir = world.control_plane("heir", &[]).await;
    proxy.argue("--controlplane", &heir.api().url());
    proxy.restart().await;
    eventually("it follows the heir", async || presence(&heir).await == "present").await;
    eventually("it serves what was saved", async || {
        answers(&proxy, "later").await == 404
    })
    .await;
    assert_eq!(answers(&proxy, "web").await, 200);
    assert_eq!(backup(&heir, &world.path("again.snapshot"))["digest"], saved["digest"]);

    // The log goes on behind the backup, and knows nothing from before.
    let revision = saved["revision"].as_u64().unwrap();
    heir.api().get("/v1/revisions?since=0").await.problem(410, "gone");
    let history = heir
        .api()
        .get(&format!("/v1/revisions?since={revision}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&history["items"][0]["actor"], &history["items"][0]["revision"]),
        (&json!("restore"), &json!(revision + 1))
    );
    let url = heir.api().url();
    let listed = done(vulcan(&["revisions", "--url", &url])).stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.contains("restore  put succession"), "{listed}");
    done(vulcan(&["revisions", "--limit", "1", "--url", &url]));
    let next = heir.api().service("web", json!({"max_body": 9})).await;
    assert_eq!(next.body["fleet"]["reached"], 1, "{}", next.text);
    heir.restart().await;
    eventually("it is back", async || presence(&heir).await == "present").await;
    heir.api().get("/v1/revisions?since=0").await.problem(410, "gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_changes_nothing() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    control.api().service("web", json!({})).await;
    let file = world.path("saved.snapshot");
    backup(&control, &file);
    refused(
        &restore(&world.store("control"), &[], &file),
        "in use by another process",
    );
    control.kill();
    refused(
        &restore(&world.store("control"), &[], &file),
        "only an empty store is restored into",
    );
    control.start();
    control.ready().await;
    assert_eq!(control.api().get("/v1/fleet").await.body["head"], 1);
    control.api().get("/v1/services/web").await.expect(200);

    let whole = fs::read(&file).unwrap();
    for (cut, why) in [(whole.len() - 1, "snapshot"), (0, "snapshot")] {
        let torn = world.path("torn.snapshot");
        fs::write(&torn, &whole[..cut]).unwrap();
        refused(&restore(&world.store("new"), &[], &torn), why);
        assert!(
            !world.store("new").exists(),
            "the file is read before the store is made"
        );
    }
    refused(&restore(&world.store("new"), &[], &world.path("absent")), "absent");

    // A backup that breaks off leaves what was there.
    fs::write(&file, "the last one").unwrap();
    let args = ["backup", "-o", text(&file), "--url", "http://127.0.0.1:1"];
    refused(&vulcan(&args), "Is a control plane running there?");
    assert_eq!(fs::read(&file).unwrap(), b"the last one");
    let left: Vec<_> = fs::read_dir(world.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().ends_with(".partial")),
        "{left:?}"
    );
}

/// A snapshot that takes a while.
fn large(file: &Path, objects: u64) {
    let mut state = State::empty(Epoch(uuid::Uuid::from_u128(7)));
    for n in 0..objects {
        let op = Op {
            verb: Verb::Put,
            kind: Kind::Service,
            key: format!("s{n}").into(),
            body: Some(Body::from_json(&format!(r#"{{"match":[{{"hosts":["h{n}"]}}]}}"#)).unwrap()),
            registration: None,
            before: None,
        };
        state.apply_op(&op, Revision(n + 1));
    }
    (state.revision, state.configured) = (Revision(objects), Revision(objects));
    snapshot::write(&state, Scope::Whole, fs::File::create(file).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_an_empty_store_or_a_whole_one() {
    const OBJECTS: u64 = 20_000;
    let world = World::new();
    let file = world.path("large.snapshot");
    large(&file, OBJECTS);
    let mut heads = Vec::new();
    for n in 0..6_u64 {
        let store = world.store(&format!("killed{n}"));
        let url = format!("redb:{}", store.display());
        let mut command = binary::vulcan();
        command
            .args(["restore", "--store", &url, text(&file)])
            .stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        // From when it has something to break.
        eventually("the store is there", async || store.exists()).await;
        tokio::time::sleep(Duration::from_millis(n * n * 40)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let mut control = world.control_plane_launched(&format!("killed{n}"), &[]);
        control.ready().await;
        let head = control.api().get("/v1/fleet").await.body["head"].as_u64().unwrap();
        let one = control.api().get("/v1/services/s77").await.status;
        match head {
            0 => assert_eq!(one, 404),
            OBJECTS => assert_eq!(one, 200),
            other => panic!("it stands at revision {other}"),
        }
        heads.push(head);
        control.kill();
    }
    println!("{heads:?}");
    assert!(heads.contains(&0), "none was killed half way: the test is blind");
}

//! The command line: flags, variables and file, exit statuses, lines on stdout, and a clean end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::binary;
use vulcan_tests::node::Node;
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Body, Connection, Request};
use vulcan_tests::world::World;

fn output(command: &mut Command) -> Output {
    command.output().expect("vulcan runs")
}

fn run(arguments: &[&str]) -> Output {
    output(binary::vulcan().args(arguments))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that is expected to end by itself, with its exit status and stderr.
async fn ended(mut node: Node) -> (Option<i32>, String) {
    (node.exit().await, node.logged())
}

fn strings(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

#[test]
fn usage_errors_are_told_and_exit_with_2() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["up", "--colour", "blue"],
        &["up", "--http", "nowhere"],
        &["dataplane", "--name", "p1"],
        &["controlplane"],
        &["controlplane", "--store", "mysql:x"],
        &["dataplane", "--controlplane", "http://127.0.0.1:1", "--lease", "soon"],
        &[
            "dataplane",
            "--controlplane",
            "http://127.0.0.1:1",
            "--on-lease-end",
            "panic",
        ],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    for arguments in [
        &["--help"][..],
        &["help"],
        &["help", "up"],
        &["up", "--help"],
        &["--version"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_told_before_ready() {
    let world = World::new();
    let up = world.up(&[]).await;
    let lines = up.lines();
    assert_eq!(lines.last().map(String::as_str), Some("ready"), "{lines:?}");
    let mut kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["admin", "http", "smtp"]);
    assert!(up.admin().port() > 0 && up.http().port() > 0 && up.smtp().port() > 0);
    assert!(up.logged().contains(" INFO "), "logs go to stderr: {}", up.logged());
    for path in ["/healthz", "/readyz"] {
        up.api().get(path).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_beat_variables_and_variables_beat_the_file() {
    let world = World::new();
    let file = world.path("vulcan.toml");
    let data = world.path("data");
    std::fs::write(
        &file,
        format!(
            "data = \"{}\"\nhttp = \"127.0.0.2:0\"\nsmtp = \"127.0.0.6:0\"\nadmin = \"127.0.0.3:0\"\nname = \"filed\"\n",
            data.display()
        ),
    )
    .unwrap();
    let mut command = binary::vulcan();
    command
        .args(["up", "--http", "127.0.0.4:0", "--config"])
        .arg(&file)
        .env("VULCAN_ADMIN", "127.0.0.5:0");
    let process = vulcan_tests::process::Process::spawn("up", &mut command, &world.path("up.log"));
    process.line("ready", 0, |line| (line == "ready").then_some(())).await;
    let lines = process.lines().join("\n");
    assert!(lines.contains("listening http 127.0.0.4:"), "{lines}");
    assert!(lines.contains("listening smtp 127.0.0.6:"), "{lines}");
    let admin = process
        .line("admin", 0, |line| line.strip_prefix("listening admin ")?.parse().ok())
        .await;
    let admin: std::net::SocketAddr = admin;
    assert_eq!(admin.ip().to_string(), "127.0.0.5");
    let fleet = Api::new(admin).get("/v1/fleet").await.expect(200);
    assert_eq!(fleet.body["items"][0]["name"], "filed");
    std::fs::write(&file, "colour = \"blue\"\nlease = \"soon\"\n").unwrap();
    let output = output(binary::vulcan().args(["up", "--config"]).arg(&file));
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("colour") && error.contains("lease"),
        "the file is validated whole: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_address_and_a_busy_store_are_clear_errors() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let store = format!("redb:{}", world.store("control").display());
    let second = Node::launch(
        "second",
        strings(&["controlplane", "--store", &store]),
        &["admin"],
        world.path(""),
    );
    let (status, error) = ended(second).await;
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("control.redb"), "{error}");
    let other = format!("redb:{}", world.store("other").display());
    let address = control.admin().to_string();
    let busy = run(&["controlplane", "--store", &other, "--admin", &address]);
    assert_eq!(busy.status.code(), Some(1));
    let named = format!("--admin {address}: cannot listen there");
    assert!(text(&busy.stderr).contains(&named), "{}", text(&busy.stderr));
    // A proxy whose port is taken is never on the roster.
    let (url, late) = (control.api().url(), world.path("late").display().to_string());
    let late = run(&[
        "dataplane",
        "--controlplane",
        &url,
        "--name",
        "late",
        "--data",
        &late,
        "--http",
        &address,
    ]);
    let error = text(&late.stderr);
    assert_eq!(late.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!("--http {address}: cannot listen there")),
        "{error}"
    );
    assert_eq!(control.api().get("/v1/fleet").await.body["items"], json!([]));
    // One process at a time in a data directory.
    let first = world.proxy("p1", &control.api().url(), &[]).await;
    let twin = world.proxy_launched("p1", &control.api().url(), &[]);
    assert_eq!(ended(twin).await.0, Some(1));
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_a_clear_error() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    control.api().put("/v1/services/web", json!({"match": []})).await.live();
    control.kill();
    let store = world.store("control");
    std::fs::write(&store, b"this is no store").unwrap();
    control.start();
    let (status, error) = ended(control).await;
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("control.redb") && !error.contains("panicked"), "{error}");
    assert_eq!(
        std::fs::read(&store).unwrap(),
        b"this is no store",
        "and it is left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_then_ends_with_0() {
    for interrupt in [false, true] {
        let world = World::new();
        let (control, mut fleet) = world.fleet(1, &[]).await;
        let (api, origin, proxy) = (control.api(), Script::listen().await, &mut fleet[0]);
        api.put("/v1/services/web", json!({"match": [{"hosts": ["web"]}]}))
            .await
            .live();
        let path = format!("/v1/services/web/upstreams/{}", origin.address);
        api.put_bare(&path).await.live();
        let mut client = Connection::connect(proxy.http()).await.unwrap();
        client
            .writer
            .send(&Request::new("GET", "/", "web").encode())
            .await
            .unwrap();
        let (mut server, _, _) = origin.request().await;
        if interrupt {
            proxy.interrupt()
        } else {
            proxy.terminate()
        }
        let listener = proxy.http();
        vulcan_tests::eventually("the listener is closed", async || {
            Connection::connect(listener).await.is_err()
        })
        .await;
        assert_eq!(proxy.probe("/readyz").await, 503, "draining is not ready");
        assert!(proxy.running());
        // It has not left yet: an unregistration still waits for what it has in flight.
        let reply = api
            .delete(&format!("{path}?timeout=500ms"))
            .await
            .problem(504, "wait-not-reached");
        assert_eq!(reply.named("draining"), ["p1"], "{}", reply.text);
        server
            .writer
            .send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await
            .unwrap();
        let head = client.reader.final_head().await.unwrap();
        assert_eq!(
            Body::of_answer(&head, "GET")
                .unwrap()
                .all(&mut client.reader)
                .await
                .unwrap(),
            b"ok"
        );
        assert!(head.closes(), "the connection is not kept any longer");
        assert_eq!(proxy.exit().await, Some(0));
        assert_eq!(api.get("/v1/fleet").await.body["items"], json!([]), "goodbye");
        let mut control = control;
        control.terminate();
        assert_eq!(control.exit().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_timeout_cuts_and_still_ends_with_0() {
    let world = World::new();
    let mut up = world.up(&["--drain-timeout", "1s"]).await;
    let origin = Script::listen().await;
    up.api()
        .put("/v1/services/web", json!({"match": [{"hosts": ["web"]}]}))
        .await
        .live();
    up.api()
        .put_bare(&format!("/v1/services/web/upstreams/{}", origin.address))
        .await
        .live();
    let mut client = Connection::connect(up.http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "web").encode())
        .await
        .unwrap();
    let server = origin.request().await;
    up.terminate();
    assert_eq!(up.exit().await, Some(0));
    assert!(client.reader.final_head().await.is_err());
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_ask_and_leave_by_command() {
    let world = World::new();
    let up = world.up(&["--name", "edge"]).await;
    let api = up.api();
    let origin = Script::listen().await;
    let vulcan = |arguments: &[&str]| output(binary::vulcan().args(arguments).env("VULCAN_URL", api.url()));
    api.put("/v1/services/web", json!({"match": [{"hosts": ["web"]}]}))
        .await
        .live();
    api.put_bare(&format!("/v1/services/web/upstreams/{}", origin.address))
        .await
        .live();
    let fleet = vulcan(&["fleet"]);
    assert_eq!(fleet.status.code(), Some(0));
    assert!(text(&fleet.stdout).contains("edge"), "{}", text(&fleet.stdout));
    let fleet: Value = serde_json::from_slice(&vulcan(&["fleet", "--output", "json"]).stdout).unwrap();
    assert_eq!(fleet["items"][0]["name"], "edge");
    let revisions: Value = serde_json::from_slice(&vulcan(&["revisions", "--output", "json"]).stdout).unwrap();
    assert!(revisions["items"].as_array().unwrap().len() >= 2, "{revisions}");

    let mut client = Connection::connect(up.http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "web").encode())
        .await
        .unwrap();
    let server = origin.request().await;
    let address = origin.address.to_string();
    let leave = vulcan(&["leave", &address, "--timeout", "500ms"]);
    assert_eq!(leave.status.code(), Some(1), "not reached: {}", text(&leave.stdout));
    assert!(
        text(&leave.stderr).contains("edge"),
        "who is not there yet is named: {}",
        text(&leave.stderr)
    );
    drop((client, server));
    let leave = vulcan(&["leave", &address]);
    assert_eq!(leave.status.code(), Some(0), "{}", text(&leave.stderr));
    assert!(!text(&leave.stderr).contains("note:"), "{}", text(&leave.stderr));
    // Repeating it is right, and a slip in the spelling is no error of the API's: both are said.
    api.put("/v1/services/other", json!({"match": []})).await.live();
    let again = vulcan(&["leave", &address]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert!(
        text(&again.stderr).contains("not registered any more"),
        "{}",
        text(&again.stderr)
    );
    let slip = vulcan(&["leave", &address.replace("127.0.0.1", "localhost")]);
    assert_eq!(slip.status.code(), Some(0), "{}", text(&slip.stderr));
    assert!(
        text(&slip.stderr).contains("nothing was registered as localhost:"),
        "{}",
        text(&slip.stderr)
    );
    assert_eq!(vulcan(&["leave", "nowhere"]).status.code(), Some(1));
    let unreachable = output(binary::vulcan().args(["fleet", "--url", "http://127.0.0.1:1"]));
    assert_eq!(unreachable.status.code(), Some(1));
    assert!(
        text(&unreachable.stderr).contains("--url"),
        "{}",
        text(&unreachable.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_says_that_no_proxy_was_asked() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let leave = output(
        binary::vulcan()
            .args(["leave", "127.0.0.1:1"])
            .env("VULCAN_URL", control.api().url()),
    );
    assert_eq!(leave.status.code(), Some(0), "{}", text(&leave.stderr));
    assert!(
        text(&leave.stderr).contains("no proxy was asked"),
        "{}",
        text(&leave.stderr)
    );
    assert!(
        text(&leave.stderr).contains("nothing was registered as"),
        "{}",
        text(&leave.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_hold_and_resume_by_command() {
    let world = World::new();
    let up = world.up(&["--name", "edge"]).await;
    let api = up.api();
    let origin = Script::listen().await;
    let vulcan = |arguments: &[&str]| output(binary::vulcan().args(arguments).env("VULCAN_URL", api.url()));
    api.service("web", json!({})).await;
    api.register("web", "a", origin.address).await;
    let mut client = Connection::connect(up.http()).await.unwrap();
    let request = Request::new("GET", "/", "web").encode();
    client.writer.send(&request).await.unwrap();
    let server = origin.request().await;
    let late = vulcan(&["hold", "web", "--timeout", "300ms"]);
    let said = text(&late.stderr);
    assert_eq!(late.status.code(), Some(1), "{}", text(&late.stdout));
    assert!(said.contains("edge drains web/a: 1 in flight"), "{said}");
    assert!(said.contains("web is held, for 30s at most"), "{said}");
    let over = vulcan(&["hold", "web", "--max", "1s"]);
    assert_eq!(over.status.code(), Some(1));
    let told = text(&over.stderr);
    assert!(
        told.contains("the hold is over: it lasted 1s") && !told.contains("is held"),
        "{told}"
    );
    drop((client, server));

    let held = vulcan(&["hold", "web", "--max", "90s"]);
    assert_eq!(held.status.code(), Some(0), "{}", text(&held.stderr));
    let said = text(&held.stdout);
    assert!(
        said.starts_with("web: held, and nothing in flight on 1 of 1 proxies"),
        "{said}"
    );
    assert_eq!(api.get("/v1/services/web/hold").await.body["max"], "90s");
    for _ in 0..2 {
        let resumed = vulcan(&["resume", "web", "--output", "json"]);
        assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
        let resumed: Value = serde_json::from_slice(&resumed.stdout).unwrap();
        assert_eq!(resumed["wait"]["reached"], true);
    }
    for absent in [&["hold", "absent"][..], &["resume", "absent"]] {
        let refused = vulcan(absent);
        assert_eq!(refused.status.code(), Some(1), "{absent:?}");
        assert!(text(&refused.stderr).contains("service/absent does not exist"));
    }
    for wrong in [
        &["hold"][..],
        &["hold", "web", "--max", "11m"],
        &["resume", "web", "--max", "1s"],
    ] {
        assert_eq!(vulcan(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

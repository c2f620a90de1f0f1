//! The access log as a file that comes and goes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::json;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::metrics::Page;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use super::{line, lines};

async fn up(world: &World, log: &str) -> Node {
    let up = world.up(&["--access-log", log, "--status", "127.0.0.1:0"]).await;
    up.api().service("web", json!({})).await;
    up.api().register("web", "a", origin::inside("a").await).await;
    up
}

async fn asks(up: &Node, times: u64) {
    let mut connection = Connection::connect(up.http()).await.unwrap();
    for _ in 0..times {
        let request = Request::new("GET", "/status?code=200", "web");
        let (head, _) = connection.exchange(&request).await.unwrap();
        assert_eq!(head.status, 200);
    }
}

/// What logrotate does, again and again, while requests come.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_loses_no_line() {
    let world = World::new();
    let log = world.path("access.log");
    let up = Arc::new(up(&world, log.to_str().unwrap()).await);
    let (sent, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (up, sent, is_over) = (up.clone(), sent.clone(), is_over.clone());
        clients.spawn(async move {
            while !is_over.load(SeqCst) {
                asks(&up, 10).await;
                sent.fetch_add(10, SeqCst);
            }
        });
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for n in 1..=5 {
        eventually("the file has lines", async || !lines(&log).is_empty()).await;
        let renamed = world.path(&format!("access.log.{n}"));
        std::fs::rename(&log, &renamed).unwrap();
        up.hang_up();
        files.push(renamed);
    }
    eventually("the file is there again", async || !lines(&log).is_empty()).await;
    is_over.store(true, SeqCst);
    clients.join_all().await;
    files.push(log);
    let sent = sent.load(SeqCst) as usize;
    let written = || files.iter().map(|file| lines(file).len()).sum::<usize>();
    eventually("all lines are there", async || written() >= sent).await;
    assert_eq!(written(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_hurts_no_request() {
    let world = World::new();
    let mut up = up(&world, "/dev/full").await;
    let status = Api::new(up.listening("status").await);
    asks(&up, 200).await;
    eventually("all lines are dropped, and counted", async || {
        Page::scrape(&status).await.sum("vulcan_access_log_dropped_total", &[]) == 200.0
    })
    .await;
    assert_eq!(up.logged().matches("the access log cannot be written").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_has_whole_lines_beside_those_of_the_listeners() {
    let world = World::new();
    let mut up = up(&world, "-").await;
    asks(&up, 200).await;
    // The last of them are written at the end.
    up.terminate();
    assert_eq!(up.exit().await, Some(0));
    let own = |line: &String| line == "ready" || line.starts_with("listening ");
    eventually("all lines are there", async || {
        up.lines().iter().filter(|line| !own(line)).count() == 200
    })
    .await;
    for text in up.lines().iter().filter(|text| !own(text)) {
        assert_eq!(line(text)["status"], 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_opened_is_told_at_once() {
    let world = World::new();
    let command = vulcan_tests::binary::vulcan()
        .args([
            "dataplane",
            "--controlplane",
            "http://127.0.0.1:9",
            "--access-log",
            "/nowhere/access.log",
        ])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    assert_eq!(command.status.code(), Some(1));
    let told = String::from_utf8_lossy(&command.stderr).into_owned();
    assert!(told.contains("--access-log /nowhere/access.log: "), "{told}");
}

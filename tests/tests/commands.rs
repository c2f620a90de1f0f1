//! The commands for people, against a control plane and a proxy: what they do, print and end with, also in a terminal.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use vulcan_tests::binary;
use vulcan_tests::node::Node;
use vulcan_tests::process::Process;
use vulcan_tests::script::Script;
use vulcan_tests::terminal::Terminal;
use vulcan_tests::tour::{self, Tour};
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";

struct People {
    up: Node,
    world: World,
}

impl People {
    async fn new() -> People {
        let world = World::new();
        let up = world.up(&["--name", "edge"]).await;
        People { up, world }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary::vulcan();
        command.args(arguments).env("VULCAN_URL", self.up.api().url());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("vulcan runs")
    }

    /// What it prints when it succeeds.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn done_as_json(&self, arguments: &[&str]) -> Value {
        let printed = self.done(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"))
    }

    /// What it says when it ends with this status.
    fn failed(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {}",
            text(&output.stdout)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    fn told(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = self.command(arguments);
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("vulcan runs");
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().expect("it ends")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_object_is_listed_shown_put_patched_and_deleted() {
    let people = People::new().await;
    let api = people.up.api();
    let put = people.done(&["service", "put", "web", "--host", "web.example", "--path-prefix", "/v2"]);
    assert!(put.starts_with("web: applied on 1 of 1 proxies at revision "), "{put}");
    let stored = api.get("/v1/services/web").await.expect(200);
    assert_eq!(stored.body["match"][0]["path_prefix"], "/v2");
    // As JSON it is what the API answers, to the byte.
    assert_eq!(people.done(&["service", "get", "web", "--output", "json"]), stored.text);
    people.done(&["service", "put", "auth", "--internal"]);
    people.done(&["authorizer", "put", "main", r#"{"service": "auth"}"#]);
    people.done(&["limit", "put", LIMIT, r#"{"threshold": 5, "period": 60}"#]);
    people.done(&[
        "upstream",
        "put",
        "web",
        "a",
        "--address",
        "127.0.0.1:1",
        "--weight",
        "3",
    ]);
    people.done(&["upstream", "put", "web", "127.0.0.1:2"]);
    let listed = people.done(&["upstream", "list", "web"]);
    let rows: Vec<&str> = listed
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(rows, ["UPSTREAM", "web/127.0.0.1:2", "web/a"], "{listed}");

    for (of, field, value) in [
        (
            &["service", "patch", "web", r#"{"max_body": "1MB"}"#][..],
            "max_body",
            json!("1MB"),
        ),
        (
            &["authorizer", "patch", "main", r#"{"timeout": "1s"}"#],
            "timeout",
            json!("1s"),
        ),
        (&["limit", "patch", LIMIT, r#"{"threshold": 6}"#], "threshold", json!(6)),
        (
            &["upstream", "patch", "web", "a", r#"{"weight": 4}"#],
            "weight",
            json!(4),
        ),
    ] {
        people.done(of);
        let get = [&[of[0], "get"], &of[2..of.len() - 1]].concat();
        assert_eq!(people.done_as_json(&get)[field], value, "{of:?}");
        let shown = people.done(&get);
        assert!(shown.lines().any(|line| line.starts_with(field)), "{shown}");
    }
    for (of, name) in [("service", "web"), ("authorizer", "main"), ("limit", LIMIT)] {
        let listed = people.done(&[of, "list"]);
        assert!(listed.lines().skip(1).any(|line| line.starts_with(name)), "{listed}");
        let items = people.done_as_json(&[of, "list"]);
        assert!(!items["items"].as_array().unwrap().is_empty());
    }
    people.done(&["limit", "delete", LIMIT]);
    people.done(&["authorizer", "delete", "main"]);
    let gone = people.done(&["service", "delete", "web"]);
    assert!(gone.starts_with("web: drained on 1 of 1 proxies"), "{gone}");
    let slip = people.run(&["service", "delete", "wbe"]);
    assert!(
        text(&slip.stderr).contains("note: wbe was not there"),
        "{}",
        text(&slip.stderr)
    );
    assert!(!text(&people.run(&["service", "delete", "auth"]).stderr).contains("note:"));
    assert!(
        people
            .failed(1, &["upstream", "list", "web"])
            .contains("service/web does not exist")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_waits_are_said_by_flags() {
    let people = People::new().await;
    let put = ["service", "put", "web", "--host", "web"];
    let revision = people.done_as_json(&put)["revision"].to_string();
    let at = |tag: &str| people.run(&[&put[..], &["--if-match", tag]].concat()).status.code();
    assert_eq!(
        (at("999"), at(&revision), at("*"), at("\"7\"")),
        (Some(1), Some(0), Some(0), Some(2))
    );
    let exists = people.failed(1, &[&put[..], &["--if-none-match"]].concat());
    assert!(exists.contains("service/web is at revision"), "{exists}");
    people.done(&["service", "put", "other", "--host", "other", "--if-none-match"]);
    let unwaited = people.done(&["upstream", "put", "web", "127.0.0.1:1", "--wait", "none"]);
    assert!(unwaited.ends_with("and nothing was waited for\n"), "{unwaited}");
    // Nobody listens there: it is applied, and not healthy.
    people.done(&["service", "patch", "web", r#"{"health_check": {"path": "/"}}"#]);
    let late = people.failed(
        1,
        &[
            "upstream",
            "put",
            "web",
            "b",
            "--address",
            "127.0.0.1:1",
            "--timeout",
            "500ms",
        ],
    );
    assert!(late.contains("edge warms web/b"), "{late}");
    let applied = people.done_as_json(&[
        "upstream",
        "put",
        "web",
        "b",
        "--address",
        "127.0.0.1:1",
        "--wait",
        "applied",
    ]);
    assert_eq!(applied["also_in"], json!(["web/127.0.0.1:1"]));
    let held = people.done_as_json(&["hold", "other", "--max", "5s"]);
    assert_eq!(
        (&held["wait"]["for"], &held["wait"]["reached"]),
        (&json!("drained"), &json!(true))
    );
    people.done(&["resume", "other"]);
    let failure: Value =
        serde_json::from_str(&people.failed(1, &["service", "get", "absent", "--output", "json"])).unwrap();
    assert_eq!(failure["type"], "urn:vulcan:not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_with_2() {
    let people = People::new().await;
    for wrong in [
        &["service"][..],
        &["service", "put", "web"],
        &["service", "put", "web", "--authorizer", "main"],
        &["service", "put", "web", "{}", "--host", "web"],
        &["service", "put", "web", "--internal", "--host", "web"],
        &["service", "put", "web", "-f", "/nonexistent.json"],
        &["service", "patch", "web"],
        &["upstream", "list"],
        &["upstream", "put", "web", "a", "--weight", "much"],
        &["upstream", "put", "web", "a", "--if-match", "1", "--if-none-match"],
        &["limit", "reset", LIMIT],
        &["revoke", "main"],
        &["revoke", "main", "--all", "--username", "anna"],
        &["completions", "tcsh"],
    ] {
        people.failed(2, wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_secrets_come_by_stdin_and_from_files() {
    let people = People::new().await;
    let put = people.told(&["service", "put", "auth", "-f", "-"], r#"{"match": []}"#);
    assert_eq!(put.status.code(), Some(0), "{}", text(&put.stderr));
    let file = people.world.path("main.json");
    std::fs::write(&file, r#"{"service": "auth"}"#).unwrap();
    people.done(&["authorizer", "put", "main", "--file", file.to_str().unwrap()]);
    // What is sent stands as it was given: the API finds what is repeated.
    let twice = people.failed(1, &["service", "put", "auth", r#"{"match": [], "match": []}"#]);
    assert!(twice.contains("match"), "{twice}");
    let revoked = people.told(&["revoke", "main", "--auth-token-file", "-"], "s3cret\n");
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked.stderr));
    assert!(text(&revoked.stdout).starts_with("revocation at main: applied on 1 of 1 proxies"));
    let empty = people.told(&["revoke", "main", "--auth-token-file", "-"], "\n");
    assert_eq!(empty.status.code(), Some(2), "a variable that is not set is no token");
    for whose in [&["--username", "anna"][..], &["--auth-token", "t"], &["--all"]] {
        people.done(&[&["revoke", "main"], whose].concat());
    }
    people.done(&["limit", "put", LIMIT, r#"{"threshold": 5, "period": 60}"#]);
    let used = people.told(
        &["limit", "usage", LIMIT, "--key-file", "-", "--output", "json"],
        "s3cret\n",
    );
    let used: Value = serde_json::from_slice(&used.stdout).unwrap();
    assert_eq!(
        (&used["key"], &used["window"]["admitted"]),
        (&json!("s3cret"), &json!(0))
    );
    assert!(people.done(&["limit", "usage", LIMIT]).contains("ADMITTED"));
    let reset = people.told(&["limit", "reset", LIMIT, "--key-file", "-"], "s3cret\n");
    let said = text(&reset.stdout);
    assert!(
        said.ends_with("the count begins anew, and 1 of 1 proxies know\n") && !said.contains("s3cret"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_after_the_control_plane_was_away() {
    let mut people = People::new().await;
    people.done(&["service", "put", "first", "--host", "first"]);
    let mut command = people.command(&["watch", "--since", "0"]);
    let watch = Process::spawn("watch", &mut command, &people.world.path("watch.log"));
    let shown = async |what: &'static str| watch.line(what, 0, |line| line.contains(what).then_some(())).await;
    shown("put service first").await;
    people.up.restart().await;
    people.done(&["service", "put", "second", "--host", "second"]);
    shown("put service second").await;
    let lines = watch.lines();
    let revisions: Vec<u64> = lines
        .iter()
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert!(
        revisions.iter().zip(1..).all(|(shown, counted)| *shown == counted),
        "none twice, none left out: {lines:?}"
    );
    assert!(
        watch.logged().contains("trying again, after revision"),
        "{}",
        watch.logged()
    );
    // Nobody reads any more: it ends by itself.
    let mut piped = people.command(&["watch", "--since", "0"]);
    let mut piped = piped.stdout(Stdio::piped()).spawn().unwrap();
    drop(piped.stdout.take());
    assert_eq!(piped.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_fleet_is_drawn_until_a_key_or_a_signal_and_leaves_the_terminal_as_it_was() {
    let people = People::new().await;
    for interrupted in [false, true] {
        let mut terminal = Terminal::run(people.command(&["fleet", "--watch"]));
        terminal.shows("present").await;
        assert!(terminal.shown().contains("\x1b[?1049h"), "a screen of its own");
        let service = format!("seen-{interrupted}");
        people.done(&["service", "put", &service, "--host", &service]);
        let head = people.done_as_json(&["fleet"])["head"].to_string();
        terminal.shows(&format!("head {head},")).await;
        match interrupted {
            true => terminal.signal(Signal::TERM),
            false => terminal.press("xq"),
        }
        assert_eq!(terminal.exit().await, Some(0));
        terminal.shows("\x1b[?1049l").await;
    }
    // No terminal: printed when it has changed, without anything that steers one.
    let mut command = people.command(&["fleet", "--watch"]);
    let watch = Process::spawn("fleet", &mut command, &people.world.path("fleet.log"));
    watch
        .line("the fleet", 0, |line| line.contains("present").then_some(()))
        .await;
    people.done(&["service", "put", "third", "--host", "third"]);
    let head = format!("head {},", people.done_as_json(&["fleet"])["head"]);
    watch
        .line("the next", 0, |line| line.starts_with(&head).then_some(()))
        .await;
    assert!(!watch.lines().concat().contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_waited_for_is_told_in_a_terminal_and_nowhere_else() {
    let people = People::new().await;
    let origin = Script::listen().await;
    let api = people.up.api();
    api.service("web", json!({})).await;
    api.register("web", "a", origin.address).await;
    let mut client = Connection::connect(people.up.http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "web").encode())
        .await
        .unwrap();
    let server = origin.request().await;
    let held = Terminal::run(people.command(&["hold", "web", "--max", "50s"]));
    held.shows(": edge drains web/a (1 in flight)").await;
    drop(held);
    people.done(&["resume", "web"]);
    let delete = ["upstream", "delete", "web", "a", "--timeout"];
    let said = people.failed(1, &[&delete[..], &["2s"]].concat());
    assert!(
        !said.contains("waiting") && said.contains("edge drains web/a: 1 in flight"),
        "{said}"
    );
    let mut terminal = Terminal::run(people.command(&[&delete[..], &["50s"]].concat()));
    terminal.shows(": edge drains web/a (1 in flight)").await;
    drop((client, server));
    assert_eq!(terminal.exit().await, Some(0));
    terminal.shows("web/a: drained on 1 of 1 proxies").await;
    let shown = terminal.shown();
    let last_line = shown.rsplit('\r').find(|part| part.contains("waiting")).unwrap();
    let (waited, done) = (shown.find(last_line).unwrap(), shown.find("web/a: drained").unwrap());
    assert!(
        shown[waited..done].contains("\r\x1b[K"),
        "the line is taken away: {shown:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proxy_is_shown_forgotten_and_succeeded() {
    let people = People::new().await;
    people.done(&["service", "put", "web", "--host", "web"]);
    people.done(&["upstream", "put", "web", "127.0.0.1:1"]);
    let shown = people.done(&["fleet", "edge"]);
    assert!(shown.contains("web/127.0.0.1:1  up"), "{shown}");
    assert!(people.failed(1, &["fleet", "nobody"]).contains("no proxy is called"));
    assert!(people.failed(1, &["forget", "edge"]).contains("edge is connected"));
    people.done(&["forget", "nobody"]);
    let taken = people.done(&["succeed", "413a7c1a-1751-4999-99d2-e85dc3a53df7"]);
    assert!(
        taken.starts_with("epoch 413a7c1a-1751-4999-99d2-e85dc3a53df7 succeeded: applied on 1 of 1"),
        "{taken}"
    );
    people.failed(1, &["succeed", "none"]);
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = binary::vulcan().args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(
            script.contains("vulcan") && script.contains("upstream") && script.contains("if-match"),
            "{shell}"
        );
    }
}

/// The walk of docs/commands.md, run as it stands there.
#[tokio::test]
async fn the_walk_prints_what_it_says() {
    let Some(tour) = Tour::of("docs/commands.md", "A walk through it") else {
        return;
    };
    let world = World::new();
    let up = world.up(&["--name", "edge"]).await;
    let tour = tour
        .with("localhost:8080", up.http())
        .with("127.0.0.1:3000", tour::free())
        .with("127.0.0.1:3001", tour::free())
        .with("cargo build --release --example hello", ":")
        .with("target/release/examples/hello", tour::hello().display())
        .with("target/release/vulcan", binary::vulcan().get_program().display());
    tour.run(&up, &world.path("")).await;
}

//! The tour of README.md, run as it stands there: the same commands, on other ports, have to print the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use vulcan_tests::binary;
use vulcan_tests::world::World;

/// Between the output of two steps.
const MARK: &str = "~~~ next step ~~~";

/// Commands, and what they print on stdout.
struct Step {
    commands: String,
    output: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The `sh` blocks of the tour, each with the `text` block behind it if there is one. The first starts `vulcan up`.
fn steps(readme: &str) -> Vec<Step> {
    let tour = readme
        .split("\n## Five minutes\n")
        .nth(1)
        .expect("the tour")
        .split("\n## ")
        .next()
        .unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for block in tour.split("\n```").collect::<Vec<_>>().iter().skip(1).step_by(2) {
        match block.split_once('\n').expect("a block has a first line") {
            ("sh", commands) => steps.push(Step {
                commands: commands.to_owned(),
                output: String::new(),
            }),
            ("text", output) => steps.last_mut().expect("output follows commands").output = output.to_owned(),
            (other, _) => panic!("a block of {other:?} in the tour"),
        }
    }
    assert!(steps.len() > 3, "the tour was not found");
    steps
}

fn hello() -> PathBuf {
    let build = ["build", "--quiet", "--package", "vulcan", "--example", "hello"];
    assert!(
        Command::new(env!("CARGO"))
            .args(build)
            .current_dir(root())
            .status()
            .unwrap()
            .success()
    );
    let vulcan = PathBuf::from(binary::vulcan().get_program());
    vulcan.parent().unwrap().join("examples/hello")
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What differs from run to run, blotted out; lines sorted, since two processes print side by side in the tour.
fn blotted(output: &str) -> Vec<String> {
    let mut lines: Vec<String> = output.lines().filter(|line| !line.is_empty()).map(blot).collect();
    lines.sort();
    lines
}

fn blot(line: &str) -> String {
    let took = r#""took_ms":"#;
    let mut line = line.to_owned();
    if let Some(at) = line.find(took).map(|at| at + took.len()) {
        let digits = line[at..].bytes().take_while(u8::is_ascii_digit).count();
        line.replace_range(at..at + digits, "N");
    }
    let words = line.split_whitespace().map(|word| match word {
        _ if word.len() == 36 && word.matches('-').count() == 4 => "EPOCH",
        _ if word.len() == 24 && word.ends_with('Z') => "TIME",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_tour_prints_what_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("not run: the tour needs curl, and there is none");
        return;
    }
    let steps = steps(&std::fs::read_to_string(root().join("README.md")).unwrap());
    let world = World::new();
    let up = world.up(&["--name", "vm"]).await;
    let (first, second, hello, vulcan) = (free(), free(), hello(), binary::vulcan());
    let names = [
        ("localhost:8182", up.admin().to_string()),
        ("localhost:8080", up.http().to_string()),
        ("127.0.0.1:3000", first.to_string()),
        ("127.0.0.1:3001", second.to_string()),
        ("cargo build --release --example hello", ":".to_owned()),
        ("target/release/examples/hello", hello.display().to_string()),
        ("target/release/vulcan", vulcan.get_program().display().to_string()),
    ];
    // A person takes a moment between two steps: the servers are up when the next one begins.
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n".to_owned();
    for step in &steps[1..] {
        script.push_str(&format!("{}\nsleep 0.5\necho '{MARK}'\n", step.commands));
    }
    for (name, actual) in &names {
        script = script.replace(name, actual);
    }
    let mut shell = Command::new("timeout");
    shell
        .args(["100", "bash", "-c", &script])
        .env("VULCAN_URL", format!("http://{}", up.admin()));
    let run = tokio::task::spawn_blocking(move || shell.output().unwrap())
        .await
        .unwrap();
    let mut printed = String::from_utf8(run.stdout).unwrap();
    for (name, actual) in names.iter().filter(|(name, _)| name.starts_with("127.0.0.1")) {
        printed = printed.replace(actual.as_str(), name);
    }
    let complaints = String::from_utf8_lossy(&run.stderr);
    for (step, printed) in steps[1..].iter().zip(printed.split(MARK)) {
        // The servers announce themselves in the background, at their own time.
        let printed: String = printed
            .lines()
            .filter(|line| !line.starts_with("hello answers"))
            .map(|l| format!("{l}\n"))
            .collect();
        assert_eq!(
            blotted(&printed),
            blotted(&step.output),
            "{}\nprinted:\n{printed}\n{complaints}",
            step.commands
        );
    }
    assert_eq!(
        printed.matches(MARK).count(),
        steps.len() - 1,
        "the tour was not finished: {complaints}"
    );
}

//! A tour in a document, run as it stands there: the same commands, on other ports, have to print the same.
//!
//! The `sh` blocks of a section, each with the `text` block behind it if there is one. The first starts `vulcan up`, which a
//! test does by itself. The others run in one shell, as in a person's second terminal.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary;
use crate::node::Node;

/// Between the output of two steps.
const MARK: &str = "~~~ next step ~~~";

/// Commands, and what they print on stdout.
struct Step {
    commands: String,
    output: String,
}

pub struct Tour {
    steps: Vec<Step>,
    /// What stands in the document, and what is meant here.
    names: Vec<(&'static str, String)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

/// An address that nobody listens at.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("loopback has a free port")
}

/// The example `hello`, built now.
pub fn hello() -> PathBuf {
    example("hello")
}

/// An example of the binary's package, built now.
pub fn example(name: &str) -> PathBuf {
    let build = ["build", "--quiet", "--package", "vulcan", "--example", name];
    let built = Command::new(env!("CARGO")).args(build).current_dir(root()).status();
    assert!(built.expect("cargo runs").success());
    let vulcan = PathBuf::from(binary::vulcan().get_program());
    let directory = vulcan.parent().expect("a binary lies in a directory");
    directory.join("examples").join(name)
}

impl Tour {
    /// The section `heading` of a document, by its path from the workspace's root. None where there is no curl.
    pub fn of(document: &str, heading: &str) -> Option<Tour> {
        if Command::new("curl").arg("--version").output().is_err() {
            eprintln!("not run: the tour needs curl, and there is none");
            return None;
        }
        let text = std::fs::read_to_string(root().join(document)).expect("the document is there");
        let steps = steps(&text, heading);
        Some(Tour {
            steps,
            names: Vec::new(),
        })
    }

    /// Where the document says `text`, `actual` is meant.
    pub fn with(mut self, text: &'static str, actual: impl ToString) -> Tour {
        self.names.push((text, actual.to_string()));
        self
    }

    /// Runs all but the first step in this directory.
    pub async fn run(self, up: &Node, directory: &Path) {
        // A person takes a moment between two steps: the servers are up when the next one begins.
        let mut script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n".to_owned();
        for step in &self.steps[1..] {
            script.push_str(&format!("{}\nsleep 0.5\necho '{MARK}'\n", step.commands));
        }
        for (name, actual) in &self.names {
            script = script.replace(name, actual);
        }
        let mut shell = Command::new("timeout");
        shell
            .args(["100", "bash", "-c", &script])
            .current_dir(directory)
            .env("VULCAN_URL", format!("http://{}", up.admin()));
        let run = tokio::task::spawn_blocking(move || shell.output()).await;
        let run = run.expect("it does not panic").expect("there is a shell");
        let mut printed = String::from_utf8(run.stdout).expect("it prints text");
        for (name, actual) in self.names.iter().filter(|(name, _)| name.starts_with("127.0.0.1")) {
            printed = printed.replace(actual.as_str(), name);
        }
        self.compare(&printed, &String::from_utf8_lossy(&run.stderr));
    }

    fn compare(&self, printed: &str, complaints: &str) {
        for (step, printed) in self.steps[1..].iter().zip(printed.split(MARK)) {
            // The servers announce themselves in the background, at their own time.
            let announcements = ["hello answers", "listening authserver", "inbox takes mail"];
            let is_shown = |line: &&str| !announcements.iter().any(|said| line.starts_with(said));
            let printed: String = printed
                .lines()
                .filter(is_shown)
                .map(|line| format!("{line}\n"))
                .collect();
            let (ours, theirs) = (blotted(&printed), blotted(&step.output));
            assert_eq!(ours, theirs, "{}\nprinted:\n{printed}\n{complaints}", step.commands);
        }
        let finished = printed.matches(MARK).count();
        assert_eq!(
            finished,
            self.steps.len() - 1,
            "the tour was not finished: {complaints}"
        );
    }
}

fn steps(document: &str, heading: &str) -> Vec<Step> {
    let section = document
        .split(&format!("\n## {heading}\n"))
        .nth(1)
        .expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut steps: Vec<Step> = Vec::new();
    for block in section.split("\n```").collect::<Vec<_>>().iter().skip(1).step_by(2) {
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

/// What differs from run to run, blotted out; lines sorted, since two processes print side by side in a tour.
fn blotted(output: &str) -> Vec<String> {
    let mut lines: Vec<String> = output.lines().map(blot).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

fn blot(line: &str) -> String {
    if line.starts_with("date: ") {
        return "date: TIME".to_owned();
    }
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
    let mut words: Vec<&str> = words.collect();
    for at in 1..words.len() {
        if words[at] == "ms" && words[at - 1].bytes().all(|byte| byte.is_ascii_digit()) {
            words[at - 1] = "N";
        }
    }
    words.join(" ")
}

//! A real Cassandra: one node that all tests of a binary share, or a cluster of a test's own.
//!
//! It runs for as long as the process that started it, however that ends. `VULCAN_TEST_CASSANDRA=HOST:PORT` names one of one
//! node that is there already, to be shared.

pub mod link;

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::process::PATIENCE;

pub struct Cassandra {
    /// `host:port`, comma-separated.
    pub contacts: String,
    /// Of one that this process started.
    pub directory: Option<PathBuf>,
    /// The launcher. It stops what it started when its stdin ends, which is with this.
    _launcher: Option<Child>,
}

/// What a store answers that is too slow at times, on a machine that has too much to do. It is asked again, as a control
/// plane asks it at its start.
pub async fn patiently<T, E: Display>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "the store never answered: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn launcher() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cassandra/cassandra");
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

impl Cassandra {
    pub fn shared() -> &'static Cassandra {
        static SHARED: OnceLock<Cassandra> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("VULCAN_TEST_CASSANDRA") {
            Ok(contacts) if !contacts.is_empty() => Cassandra {
                contacts,
                directory: None,
                _launcher: None,
            },
            _ => Cassandra::start(1, &[]),
        })
    }

    /// A cluster of its own, with options of the launcher; it ends when it is dropped.
    pub fn start(nodes: usize, options: &[&str]) -> Cassandra {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let test = std::env::current_exe().expect("a test knows its own path");
        // target/<profile>/deps/<test>
        let target = test.ancestors().nth(3).expect("tests lie in target/<profile>/deps");
        let name = format!("{}-{}", std::process::id(), STARTED.fetch_add(1, SeqCst));
        let directory = target.join("cassandra").join(name);
        let mut launcher = launcher()
            .args(["hold", &nodes.to_string(), "--dir"])
            .arg(&directory)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let stdout = launcher.stdout.take().expect("stdout is piped");
        let mut contacts = String::new();
        let read = BufReader::new(stdout).read_line(&mut contacts);
        assert!(
            read.is_ok() && !contacts.is_empty(),
            "Cassandra did not start; what its launcher says stands above"
        );
        Cassandra {
            contacts: contacts.trim().to_owned(),
            directory: Some(directory),
            _launcher: Some(launcher),
        }
    }

    /// `--store` of a keyspace that nobody else has.
    pub fn store(&self) -> String {
        format!("cassandra://{}/{}", self.contacts, keyspace())
    }

    /// What the launcher does to one of its nodes: `kill`, `freeze`, `thaw`, `stop`, `fill`.
    pub fn tell(&self, verb: &str, node: usize) {
        self.call(&[verb, &node.to_string()]);
    }

    /// Starts the nodes that do not run, and waits until all serve.
    pub fn restart(&self) {
        self.call(&["restart"]);
    }

    fn call(&self, arguments: &[&str]) {
        let directory = self.directory.as_ref().expect("a cluster that this process started");
        let mut command = launcher();
        command.args(arguments).arg("--dir").arg(directory);
        let status = command.status().expect("python3 is installed");
        assert!(status.success(), "cassandra {arguments:?}");
    }
}

/// A name that no other test has, also of other runs.
pub fn keyspace() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos() & 0xffff_ffff_ffff);
    format!("t{:x}_{:x}_{}", now, std::process::id(), MADE.fetch_add(1, SeqCst))
}

//! What the files call, started for real, with the addresses and paths of a test in place of theirs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;
use vulcan_tests::api::Api;
use vulcan_tests::binary;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::process::Process;

use crate::invocation::Invocation;
use crate::root;

/// A folder with the secrets of a fleet, and what in it stands for what the files say.
pub struct Bench {
    folder: TempDir,
    dictionary: Vec<(String, String)>,
}

/// No other test of this binary asks for it before it is bound again.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

impl Bench {
    /// `store` stands for a keyspace that nobody else has; the rest is told by `means`.
    pub fn new(store: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut make = Command::new(root().join("deploy/make-secrets"));
        let made = make.arg(folder.path().join("secrets")).status().unwrap();
        assert!(made.success(), "make-secrets");
        let mut bench = Bench {
            folder,
            dictionary: Vec::new(),
        };
        bench.means(store, Cassandra::shared().store());
        bench
    }

    pub fn means(&mut self, there: &str, here: impl Into<String>) {
        self.dictionary.push((there.to_owned(), here.into()));
    }

    fn secret(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("secrets").join(name);
        assert!(path.exists(), "make-secrets makes no {name}");
        path
    }

    /// The path of a secret, as it stands on a command line.
    pub fn path(&self, secret: &str) -> String {
        self.secret(secret).to_str().unwrap().to_owned()
    }

    pub fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Starts it as `vulcan` with the words and variables as they are, after translation. `own` is translated first.
    pub fn start(&self, invocation: &Invocation, own: &[(&str, String)]) -> Process {
        let own = own.iter().map(|(there, here)| ((*there).to_owned(), here.clone()));
        let dictionary: Vec<(String, String)> = own.chain(self.dictionary.iter().cloned()).collect();
        let here = invocation.translated(&dictionary);
        let mut command = binary::vulcan();
        command
            .args(here.words.iter().map(|word| &word.text))
            .env("VULCAN_DATA", self.folder.path().join(&here.name))
            .envs(here.variables.iter().map(|(name, value)| (&name.text, value)))
            .current_dir(self.folder.path());
        let log = self.folder.path().join(format!("{}.log", here.name));
        Process::spawn(&here.name, &mut command, &log)
    }

    /// The API, as whoever holds `ops.token` reaches it.
    pub fn api(&self, at: SocketAddr) -> Api {
        let token = std::fs::read_to_string(self.secret("ops.token")).unwrap();
        Api::new(at).with_token(token.trim())
    }

    /// Control planes and proxies: all ready, all members, a write through each control plane true on all proxies. Then
    /// they are ended as their files end them.
    pub async fn serves(&self, planes: &[(Process, SocketAddr)], mut proxies: Vec<Process>) {
        for process in planes.iter().map(|(process, _)| process).chain(&proxies) {
            ready(process).await;
        }
        for (n, (_, at)) in planes.iter().enumerate() {
            let body = json!({"match": [{"hosts": [format!("h{n}")]}]});
            let reply = self.api(*at).put(&format!("/v1/services/s{n}"), body).await;
            let reached = (&reply.body["fleet"]["members"], &reply.body["fleet"]["reached"]);
            assert_eq!(
                (reply.status, reached),
                (200, (&json!(proxies.len()), &json!(proxies.len()))),
                "{}",
                reply.text
            );
        }
        for proxy in &mut proxies {
            end(proxy).await;
        }
    }
}

pub async fn ready(process: &Process) {
    process.line("`ready`", 0, |line| (line == "ready").then_some(())).await;
}

pub async fn end(process: &mut Process) {
    process.signal(Signal::TERM);
    let status = process.exit().await;
    assert_eq!(status.code(), Some(0), "{}: {}", process.label, process.logged());
}

/// Where it listens, by the line that says so.
pub async fn listening(process: &Process, kind: &str) -> SocketAddr {
    let prefix = format!("listening {kind} ");
    process
        .line(&prefix, 0, |line| line.strip_prefix(&prefix)?.parse().ok())
        .await
}

/// Addresses for control planes, which must know their own before they are started.
pub fn addresses<const N: usize>() -> [SocketAddr; N] {
    std::array::from_fn(|_| free())
}

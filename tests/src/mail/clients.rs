//! Mail clients of other people, each told to send one message.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::json;

use super::certificate::Certificate;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Swaks,
    Smtplib,
    Nodemailer,
    Msmtp,
}

pub const ALL: [Client; 4] = [Client::Swaks, Client::Smtplib, Client::Nodemailer, Client::Msmtp];

/// What to send, to whom.
#[derive(Clone, Debug)]
pub struct Order {
    pub server: SocketAddr,
    /// STARTTLS with trust in this certificate; without it no TLS.
    pub trusted: Option<PathBuf>,
    /// User and password.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: Vec<String>,
    /// A file with the message; its lines end in CRLF.
    pub message: PathBuf,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub is_taken: bool,
    /// What the client printed.
    pub said: String,
}

impl Order {
    /// From alice to bob, whose message is written to `directory`.
    pub fn new(server: SocketAddr, directory: &Path, message: &[u8]) -> Order {
        let file = directory.join("message.eml");
        std::fs::write(&file, message).expect("a temporary directory takes files");
        Order {
            server,
            trusted: None,
            login: None,
            from: "alice@sender.test".to_owned(),
            to: vec!["bob@example.test".to_owned()],
            message: file,
        }
    }

    pub fn secure(mut self, certificate: &Certificate) -> Order {
        self.trusted = Some(certificate.chain.clone());
        self
    }

    pub fn login(mut self, user: &str, password: &str) -> Order {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    fn json(&self) -> String {
        let (user, password) = self.login.clone().unzip();
        let order = json!({
            "host": "127.0.0.1", "port": self.server.port(), "ca": self.trusted, "user": user, "password": password,
            "from": self.from, "to": self.to, "file": self.message, "options": [],
        });
        order.to_string()
    }
}

impl Client {
    pub async fn send(self, order: &Order) -> Outcome {
        let order = order.clone();
        let sending = tokio::task::spawn_blocking(move || self.run(&order));
        let output = sending.await.expect("a client can be run");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        Outcome {
            is_taken: output.status.success(),
            said: format!("{stdout}{stderr}"),
        }
    }

    fn run(self, order: &Order) -> Output {
        match self {
            Client::Swaks => output(swaks(order), ""),
            Client::Msmtp => {
                let message = std::fs::read(&order.message).expect("the message is there");
                output(msmtp(order), message)
            }
            Client::Smtplib => {
                let mut command = Command::new("python3");
                command.arg(scripts().join("smtplib_client.py"));
                output(command, order.json())
            }
            Client::Nodemailer => {
                let mut command = Command::new("node");
                command.arg(scripts().join("nodemailer_client.js"));
                command.env("NODE_PATH", installed().join("nodemailer/node_modules"));
                output(command, order.json())
            }
        }
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Where they are, found or installed now.
pub fn installed() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let output = Command::new(scripts().join("clients")).arg("install").output();
        let output = output.expect("python3 runs");
        assert!(
            output.status.success(),
            "no mail clients: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let place = String::from_utf8(output.stdout).expect("a path in UTF-8");
        PathBuf::from(place.trim_end())
    })
}

pub(super) fn script() -> Command {
    Command::new(scripts().join("clients"))
}

fn output(mut command: Command, input: impl AsRef<[u8]>) -> Output {
    installed();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // One that gives up early does not read it.
    let _ = stdin.write_all(input.as_ref());
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

fn swaks(order: &Order) -> Command {
    let mut command = Command::new("swaks");
    command.args([
        "--server",
        "127.0.0.1",
        "--port",
        &order.server.port().to_string(),
        "--timeout",
        "60",
    ]);
    command.args([
        "--ehlo",
        "client.test",
        "--from",
        &order.from,
        "--to",
        &order.to.join(","),
    ]);
    if let Some(trusted) = &order.trusted {
        command.args(["--tls", "--tls-verify", "--tls-ca-path"]).arg(trusted);
    }
    if let Some((user, password)) = &order.login {
        command.args([
            "--auth",
            "PLAIN,LOGIN",
            "--auth-user",
            user,
            "--auth-password",
            password,
        ]);
    }
    command.arg("--data").arg(format!("@{}", order.message.display()));
    command
}

fn msmtp(order: &Order) -> Command {
    let mut command = Command::new("msmtp");
    command.args([
        "--host=127.0.0.1",
        &format!("--port={}", order.server.port()),
        "--timeout=60",
    ]);
    command.args(["--domain=client.test", &format!("--from={}", order.from)]);
    command.args(["--set-date-header=off", "--set-msgid-header=off"]);
    match &order.trusted {
        Some(trusted) => {
            command.args(["--tls=on", "--tls-starttls=on"]);
            command.arg(format!("--tls-trust-file={}", trusted.display()))
        }
        None => command.arg("--tls=off"),
    };
    match &order.login {
        // Passwords of tests need no quotes.
        Some((user, password)) => {
            command.args(["--auth=plain", &format!("--user={user}")]);
            command.arg(format!("--passwordeval=echo {password}"))
        }
        None => command.arg("--auth=off"),
    };
    command.arg("--").args(&order.to);
    command
}

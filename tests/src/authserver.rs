//! A small authorization server: a file of users, asked in any style.
//!
//! Each line is `user:password auth_token`, and may go on with the `upstream` of its answers. The file is read at every
//! question, so that whoever is taken out of it is refused from then on. `/healthz` is always well.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::recorder::Question;
use crate::binary;
use crate::process::Process;
use crate::wire::{Body, Connection};

pub mod basic;
pub mod recorder;

/// How often it was asked.
#[derive(Default)]
pub struct Asked(AtomicU64);

impl Asked {
    pub fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// A process of its own, that can be killed.
pub struct Authserver {
    pub address: SocketAddr,
    process: Process,
}

impl Authserver {
    pub async fn start(users: &Path, listen: &str, log: &Path) -> Authserver {
        let mut command = binary::authserver();
        let process = Process::spawn("authserver", command.arg(users).arg(listen), log);
        let prefix = "listening authserver ";
        let address = process.line("its address", 0, |line| line.strip_prefix(prefix)?.parse().ok());
        Authserver {
            address: address.await,
            process,
        }
    }

    /// Where it lies.
    pub fn binary() -> PathBuf {
        binary::authserver().get_program().into()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }
}

/// In the test's own process, for as long as the test runs.
pub async fn inside(users: &Path) -> (SocketAddr, Arc<Asked>) {
    hesitant(users, Duration::ZERO).await
}

/// As `inside`; each answer comes so long after it was decided.
pub async fn hesitant(users: &Path, delay: Duration) -> (SocketAddr, Arc<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let asked = Arc::<Asked>::default();
    tokio::spawn(serve(listener, users.to_owned(), delay, asked.clone()));
    (address, asked)
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, users: PathBuf, delay: Duration, asked: Arc<Asked>) {
    let users: Arc<Path> = users.into();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (users, asked) = (users.clone(), asked.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(Connection::new(stream), &users, delay, &asked).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn connection(mut connection: Connection, users: &Path, delay: Duration, asked: &Asked) -> io::Result<()> {
    // An idle connection is the proxy's to keep.
    connection.reader.patience = Duration::from_secs(600);
    while let Some((line, fields)) = connection.reader.request().await? {
        let body = Body::of_request(&fields)?.all(&mut connection.reader).await?;
        let question = Question { line, fields, body };
        if question.line.path() == "/healthz" {
            connection
                .writer
                .send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await?;
            continue;
        }
        asked.0.fetch_add(1, SeqCst);
        let listed = std::fs::read_to_string(users)?;
        let answer = match (grant(&listed, &question), shown(&question)) {
            (Some(grant), _) => granted(&grant),
            (None, Some(_)) => refused("403 Forbidden", "", "no such user, or another password\n"),
            (None, None) => {
                let challenge = "www-authenticate: Basic realm=\"users\"\r\n";
                refused("401 Unauthorized", challenge, "who are you?\n")
            }
        };
        tokio::time::sleep(delay).await;
        connection.writer.send(answer.as_bytes()).await?;
    }
    Ok(())
}

/// The body is for `json` and `query`, the field for `forward`.
fn granted(grant: &Value) -> String {
    let token = grant["auth_token"].as_str().unwrap_or_default();
    let fields = format!("x-vulcan-auth-token: {token}\r\ncontent-type: application/json\r\n");
    whole("200 OK", &fields, &grant.to_string())
}

fn refused(status: &str, fields: &str, body: &str) -> String {
    whole(status, &format!("{fields}content-type: text/plain\r\n"), body)
}

fn whole(status: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn grant(users: &str, question: &Question) -> Option<Value> {
    let shown = shown(question)?;
    let mut words = users
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(&shown)).then_some(words))?;
    let mut grant = json!({"auth_token": words.next()?});
    if let Some(upstream) = words.next() {
        grant["upstream"] = upstream.into();
    }
    Some(grant)
}

/// `user:password`, however it was asked.
fn shown(question: &Question) -> Option<String> {
    if question.field("x-forwarded-uri").is_some() {
        return basic::decode(question.field("authorization")?);
    }
    let told = question.told();
    Some(format!("{}:{}", told["username"].as_str()?, told["password"].as_str()?))
}

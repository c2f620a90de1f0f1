//! A small authorization server: a file of users, asked as `style: json` asks.
//!
//! Each line is `user:password auth_token`, and may go on with the `upstream` of its answers. The file is read at every
//! question, so that whoever is taken out of it is refused from then on.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::binary;
use crate::process::Process;
use crate::wire::{Body, Connection};

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

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
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
    while let Some((_, fields)) = connection.reader.request().await? {
        let question = Body::of_request(&fields)?.all(&mut connection.reader).await?;
        asked.0.fetch_add(1, SeqCst);
        let listed = std::fs::read_to_string(users)?;
        let (status, body) = match grant(&listed, &question) {
            Some(grant) => ("200 OK", grant.to_string()),
            None => ("403 Forbidden", "no such user, or another password\n".to_owned()),
        };
        tokio::time::sleep(delay).await;
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.writer.send(format!("{head}{body}").as_bytes()).await?;
    }
    Ok(())
}

fn grant(users: &str, question: &[u8]) -> Option<Value> {
    let question: Value = serde_json::from_slice(question).ok()?;
    let shown = format!("{}:{}", question["username"].as_str()?, question["password"].as_str()?);
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

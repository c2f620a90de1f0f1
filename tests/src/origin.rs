//! Origins: servers behind the proxy, each a process of its own so that it can be killed as a deployment kills it.

use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::binary;
use crate::process::Process;

mod answer;
mod fault;
mod serve;

pub use fault::Fault;
pub use serve::{Tally, serve};

/// An origin in the test's own process, for as long as the test runs; told by its address.
pub async fn inside(id: &str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let id = id.to_owned();
    tokio::spawn(async move { serve(listener, &id, std::sync::Arc::default()).await });
    address
}

/// What an origin has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Requests of clients whose head was read.
    pub received: u64,
    /// `OPTIONS *`: a proxy's own, which asks whether it is well again.
    pub probes: u64,
    /// Those not answered whole yet, tunnels included.
    pub in_flight: u64,
    /// The most that there were at a time.
    pub in_flight_most: u64,
    /// Requests that came after the mark.
    pub after: u64,
    /// Connections that came after the mark.
    pub connections_after: u64,
}

/// How an origin begins that is not well at once.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Its port is closed for so many milliseconds.
    Closed(u64),
    /// It answers 503 for so many milliseconds.
    Unwell(u64),
}

pub struct Origin {
    pub id: String,
    pub address: SocketAddr,
    process: Process,
}

impl Origin {
    pub async fn start(id: &str, listen: &str, log: &Path) -> Origin {
        Origin::launch(id, &[listen], log).await
    }

    /// On a port of the system's choice, which it tells before it is well.
    pub async fn start_slowly(id: &str, start: Start, log: &Path) -> Origin {
        let (how, ms) = match start {
            Start::Closed(ms) => ("closed", ms),
            Start::Unwell(ms) => ("unwell", ms),
        };
        Origin::launch(id, &["127.0.0.1:0", how, &ms.to_string()], log).await
    }

    async fn launch(id: &str, arguments: &[&str], log: &Path) -> Origin {
        let mut command = binary::origin();
        let process = Process::spawn(&format!("origin {id}"), command.arg(id).args(arguments), log);
        let address = process
            .line("its address", 0, |line| {
                line.strip_prefix("listening origin ")?.parse().ok()
            })
            .await;
        Origin {
            id: id.to_owned(),
            address,
            process,
        }
    }

    /// From here on requests count as coming after the unregistration. Answers with the count of this moment.
    pub async fn mark(&mut self) -> Count {
        self.command("mark").await
    }

    pub async fn count(&mut self) -> Count {
        self.command("count").await
    }

    /// From the next request on it answers like this, or well again. Tells the count of this moment.
    pub async fn fault(&mut self, fault: Option<Fault>) -> Count {
        let name = fault.map_or_else(|| "none".to_owned(), |fault| fault.to_string());
        self.command(&format!("fault {name}")).await
    }

    /// SIGSTOP: it stands still, and its port takes connections that nobody serves.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn command(&mut self, command: &str) -> Count {
        let line = self.process.tell(command).await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("origin {}: {line}: {error}", self.id))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

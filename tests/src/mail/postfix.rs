//! A Postfix that takes mail from anybody here and relays all of it to the proxy.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::clients;
use crate::process::{PATIENCE, Process};

/// It ends with its handle.
pub struct Postfix {
    pub address: SocketAddr,
    process: Process,
}

impl Postfix {
    /// Relaying to `relay`; over TLS, whoever that is, if `is_secure`. What it keeps lies below `directory` until it ends.
    pub async fn start(directory: &Path, relay: SocketAddr, is_secure: bool) -> Postfix {
        tokio::task::spawn_blocking(clients::installed)
            .await
            .expect("clients can be installed");
        let mut command = clients::script();
        command.args(["postfix", "--relay", &relay.to_string(), "--dir"]);
        command.arg(directory.join("postfix"));
        if is_secure {
            command.arg("--tls");
        }
        let process = Process::spawn("postfix", &mut command, &directory.join("postfix.log"));
        let address = process.line("its address", 0, |line| line.parse().ok()).await;
        Postfix { address, process }
    }
}

impl Drop for Postfix {
    /// Its script stops what it has started; killed, it could not.
    fn drop(&mut self) {
        self.process.close_stdin();
        let begun = Instant::now();
        while self.process.running() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

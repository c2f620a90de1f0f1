//! The process of the simulated proxies, as a measurement drives it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::Server;

const JOIN_WITHIN: Duration = Duration::from_secs(300);

pub struct Fleet {
    pub server: Server,
}

pub struct Stats {
    pub caught_up: u64,
    pub applied_min: u64,
    pub change_bytes: u64,
    pub levels: u64,
    pub snapshots: u64,
    pub gaps: u64,
    pub lost: u64,
    pub last_loss: Option<String>,
}

impl Fleet {
    pub fn start(admin: SocketAddr, proxies: usize, scratch: &Path) -> io::Result<Fleet> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "proxies",
            "--controlplane",
            &admin.to_string(),
            "--proxies",
            &proxies.to_string(),
        ]);
        Ok(Fleet {
            server: Server::start("proxies", command, None, scratch)?,
        })
    }

    pub fn stats(&mut self) -> io::Result<Stats> {
        self.server.tell("stats")?;
        let stats: serde_json::Value = serde_json::from_str(&self.server.line(Duration::from_secs(60))?)?;
        let number = |name: &str| stats[name].as_u64().unwrap_or_default();
        Ok(Stats {
            caught_up: number("caught_up"),
            applied_min: number("applied_min"),
            change_bytes: number("change_bytes"),
            levels: number("levels"),
            snapshots: number("snapshots"),
            gaps: number("gaps"),
            lost: number("lost"),
            last_loss: stats["last_loss"].as_str().map(Into::into),
        })
    }

    /// Until all are connected and have applied `head`.
    pub fn caught_up(&mut self, proxies: usize, head: u64) -> io::Result<()> {
        let deadline = Instant::now() + JOIN_WITHIN;
        loop {
            let stats = self.stats()?;
            if stats.caught_up == proxies as u64 && stats.applied_min >= head {
                return Ok(());
            }
            if Instant::now() > deadline {
                let loss = stats.last_loss.unwrap_or_default();
                return Err(io::Error::other(format!(
                    "{} of {proxies} proxies caught up; {loss}",
                    stats.caught_up
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

//! Redis as Debian packages it, asked by a script for each decision, as gateways do.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::lane::{Client, Lane, PERIOD};
use super::load::{Asked, Connection, Heard};
use crate::process::{Server, free_address};

/// Without an answer for so long a caller refuses.
const WITHIN: Duration = Duration::from_secs(1);
const REPLY_MAX: u64 = 64 * 1024;

/// The first request of a period begins it.
const WINDOW: &str = "local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if n <= tonumber(ARGV[1]) then return 1 end
return 0";
/// When each request of the last period was admitted, by Redis's own clock.
const LOG: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2] * 1000)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Window,
    Log,
}

impl Script {
    fn text(self) -> &'static str {
        match self {
            Script::Window => WINDOW,
            Script::Log => LOG,
        }
    }
}

pub struct Redis {
    server: Server,
    pub address: SocketAddr,
    scratch: PathBuf,
    /// Whether it writes to a file what it does, synced each second.
    keeps: bool,
}

pub fn is_there() -> bool {
    let asked = Command::new("redis-server").arg("--version").output();
    asked.is_ok_and(|answer| answer.status.success())
}

impl Redis {
    pub fn start(scratch: &Path, keeps: bool) -> io::Result<Redis> {
        let address = free_address()?;
        Ok(Redis {
            server: launch(scratch, address, keeps)?,
            address,
            scratch: scratch.into(),
            keeps,
        })
    }

    /// What the process of now has used.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.server.usage()?.cpu)
    }

    /// SIGKILL, and at once the next one in its place.
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.server.kill()?;
        self.server = launch(&self.scratch, self.address, self.keeps)?;
        Ok(())
    }
}

fn launch(scratch: &Path, address: SocketAddr, keeps: bool) -> io::Result<Server> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", if keeps { "yes" } else { "no" }]);
    command.arg("--dir").arg(scratch);
    let mut server = Server::start("redis", command, None, scratch)?;
    server.accepting(address)?;
    Ok(server)
}

/// One caller's way to it: a connection for each client.
pub struct Callers<'a> {
    pub address: SocketAddr,
    pub script: Script,
    pub lanes: &'a [Lane],
    /// Names members of logs.
    pub serial: AtomicU64,
}

pub struct Caller {
    address: SocketAddr,
    script: Script,
    arguments: [String; 3],
    serial: u64,
    link: Option<Link>,
}

struct Link {
    stream: BufReader<TcpStream>,
    /// What the script is called by.
    sha: String,
}

impl Asked for Callers<'_> {
    type Connection = Caller;

    fn connection(&self, client: &Client) -> Caller {
        let Client { lane, token, .. } = *client;
        let threshold = self.lanes[lane].limit.map_or(0, |(threshold, _)| threshold);
        Caller {
            address: self.address,
            script: self.script,
            arguments: [
                format!("limit:{lane}:{token}"),
                threshold.to_string(),
                PERIOD.as_millis().to_string(),
            ],
            serial: self.serial.fetch_add(1 << 32, Ordering::Relaxed),
            link: None,
        }
    }
}

impl Connection for Caller {
    async fn ask(&mut self) -> Heard {
        match tokio::time::timeout(WITHIN, self.decide()).await {
            Ok(Ok(true)) => Heard::Admitted,
            Ok(Ok(false)) => Heard::Refused,
            Ok(Err(_)) | Err(_) => {
                self.link = None;
                Heard::Failed
            }
        }
    }
}

impl Caller {
    async fn decide(&mut self) -> io::Result<bool> {
        self.serial += 1;
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(Link::new(self.address, self.script).await?),
        };
        let (serial, [key, threshold, period]) = (self.serial.to_string(), &self.arguments);
        let asked = command(&["EVALSHA", &link.sha, "1", key, threshold, period, &serial]);
        link.stream.get_mut().write_all(&asked).await?;
        match link.reply().await?.as_str() {
            ":1" => Ok(true),
            ":0" => Ok(false),
            other => Err(io::Error::other(other.to_owned())),
        }
    }
}

impl Link {
    async fn new(address: SocketAddr, script: Script) -> io::Result<Link> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut link = Link {
            stream: BufReader::new(stream),
            sha: String::new(),
        };
        let load = command(&["SCRIPT", "LOAD", script.text()]);
        link.stream.get_mut().write_all(&load).await?;
        link.sha = link.reply().await?;
        Ok(link)
    }

    /// A simple reply with its kind, or the text of a bulk reply (RESP2).
    async fn reply(&mut self) -> io::Result<String> {
        let line = self.line().await?;
        match line.strip_prefix('$') {
            Some(_) => self.line().await,
            None => Ok(line),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if (&mut self.stream).take(REPLY_MAX).read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    command.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        assert_eq!(command(&["GET", "a:b"]), b"*2\r\n$3\r\nGET\r\n$3\r\na:b\r\n");
    }
}

//! Requests through the proxies, and the origin that notes when each of them came.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::lane::Client;
use super::load::{Asked, Connection, Heard};
use super::times::Times;
use crate::background::Background;
use crate::http::wire;

pub const HOST: &str = "limits.bench.test";

const WITHIN: Duration = Duration::from_secs(10);
const HEAD_MAX: usize = 64 * 1024;

/// Requests of this lane, and of no other, have paths that begin so.
pub fn path(lane: usize) -> String {
    format!("/{lane}/")
}

/// One proxy for each caller.
pub struct Edges(pub Vec<SocketAddr>);

/// Its address is the token: limits count by the client's address.
pub struct Edge {
    proxy: SocketAddr,
    source: Ipv4Addr,
    request: Vec<u8>,
    stream: Option<TcpStream>,
    read: Vec<u8>,
}

impl Asked for Edges {
    type Connection = Edge;

    fn connection(&self, client: &Client) -> Edge {
        let Client { lane, token, .. } = *client;
        Edge {
            proxy: self.0[client.caller],
            source: Ipv4Addr::from(0x7f01_0001 + token as u32),
            request: format!("GET {}{token} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", path(lane)).into_bytes(),
            stream: None,
            read: Vec::new(),
        }
    }
}

impl Connection for Edge {
    async fn ask(&mut self) -> Heard {
        match tokio::time::timeout(WITHIN, self.exchange()).await {
            Ok(Ok(200)) => Heard::Admitted,
            Ok(Ok(429)) => Heard::Refused,
            Ok(Ok(_)) => Heard::Failed,
            Ok(Err(_)) | Err(_) => {
                self.stream = None;
                Heard::Failed
            }
        }
    }
}

impl Edge {
    async fn exchange(&mut self) -> io::Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let socket = TcpSocket::new_v4()?;
                socket.bind((self.source, 0).into())?;
                let stream = socket.connect(self.proxy).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(&self.request).await?;
        self.read.clear();
        loop {
            if let Some(answer) = wire::answer(&self.read)?
                && self.read.len() as u64 >= answer.head as u64 + answer.length
            {
                return Ok(answer.status);
            }
            more(stream, &mut self.read).await?;
        }
    }
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(read).await? == 0 || read.len() > HEAD_MAX {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The origin behind all proxies.
pub struct Witness {
    server: Background,
    times: Arc<Mutex<Times>>,
}

impl Witness {
    pub fn start() -> io::Result<Witness> {
        let times = Arc::<Mutex<Times>>::default();
        let noted = times.clone();
        let server = Background::start(move |stream| {
            let times = noted.clone();
            async move {
                let _closed = witness(stream, &times).await;
            }
        })?;
        Ok(Witness { server, times })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// What came so far, in order.
    pub fn take(&self) -> Times {
        let mut times = std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner));
        times.values_mut().for_each(|times| times.sort());
        times
    }
}

async fn witness(mut stream: TcpStream, times: &Mutex<Times>) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        more(&mut stream, &mut read).await?;
        if !read.ends_with(b"\r\n\r\n") {
            continue;
        }
        let now = Instant::now();
        let asked = asked(&read).ok_or(io::ErrorKind::InvalidData)?;
        note(times, asked, now);
        read.clear();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await?;
    }
}

fn note(times: &Mutex<Times>, asked: (usize, usize), at: Instant) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.entry(asked).or_default().push(at);
}

/// The lane and the token of `GET /lane/token …`.
fn asked(request: &[u8]) -> Option<(usize, usize)> {
    let target = std::str::from_utf8(request).ok()?.split(' ').nth(1)?;
    let (lane, token) = target.strip_prefix('/')?.split_once('/')?;
    Some((lane.parse().ok()?, token.parse().ok()?))
}

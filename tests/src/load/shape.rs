//! The shapes of requests. Short GETs alone prove nothing: a retry hides everything that happens to them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::pattern::{self, Sum};
use crate::wire::{Body, Connection, Head, Request, invalid};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// A GET on a kept connection.
    Short,
    /// A GET on a connection of its own.
    Fresh,
    /// A POST, which no proxy may send twice.
    Post,
    /// The answer's head comes after 2 s.
    SlowHead,
    /// Half of the body comes 2 s after the other.
    HalfBody,
    /// The same in chunks.
    HalfChunked,
    /// The upload trickles for 1.5 s.
    Upload,
    /// An upload that comes back while it goes out.
    Echo,
    /// A WebSocket in use for 1.5 s.
    Tunnel,
}

pub const SHAPES: [Shape; 9] = [
    Shape::Short,
    Shape::Fresh,
    Shape::Post,
    Shape::SlowHead,
    Shape::HalfBody,
    Shape::HalfChunked,
    Shape::Upload,
    Shape::Echo,
    Shape::Tunnel,
];

const TRICKLES: usize = 10;
const TRICKLE: Duration = Duration::from_millis(150);

impl Shape {
    /// From the beginning of one request to that of the next, unless it takes longer.
    pub fn interval(self) -> Duration {
        match self {
            Shape::Short => Duration::from_millis(150),
            Shape::Fresh | Shape::Post => Duration::from_millis(300),
            _ => Duration::from_millis(50),
        }
    }
}

/// One client of one shape; long requests alternate between kept and fresh connections.
pub struct Client {
    pub shape: Shape,
    proxy: SocketAddr,
    host: String,
    seed: u64,
    asked: u64,
    /// With the moment when it was made.
    kept: Option<(Connection, Instant)>,
    /// When the connection of the last request was made.
    pub connected: Instant,
}

impl Client {
    pub fn new(proxy: SocketAddr, host: &str, shape: Shape, seed: u64) -> Client {
        Client {
            shape,
            proxy,
            host: host.to_owned(),
            seed: seed << 32,
            asked: 0,
            kept: None,
            connected: Instant::now(),
        }
    }

    /// Makes one request and checks all of its answer. Ok: the origin that gave it.
    pub async fn run(&mut self) -> Result<String, String> {
        self.asked += 1;
        self.seed += 1;
        let fresh = match self.shape {
            Shape::Short | Shape::Post => false,
            Shape::Fresh | Shape::Tunnel => true,
            _ => self.asked.is_multiple_of(2),
        };
        let kept = if fresh { None } else { self.kept.take() };
        let age = if kept.is_some() { "kept" } else { "fresh" };
        self.connected = Instant::now();
        let mut connection = match kept {
            Some((connection, connected)) => {
                self.connected = connected;
                connection
            }
            None => Connection::connect(self.proxy)
                .await
                .map_err(|error| format!("connect: {error}"))?,
        };
        let outcome = self.ask(&mut connection).await;
        let origin = outcome.map_err(|error| format!("request {} on a {age} connection: {error}", self.seed))?;
        if !fresh {
            self.kept = Some((connection, self.connected));
        }
        Ok(origin)
    }

    async fn ask(&self, to: &mut Connection) -> io::Result<String> {
        match self.shape {
            Shape::Short | Shape::Fresh => self.get(to, "/bytes", 100 + self.seed as usize % 20_000).await,
            Shape::SlowHead => self.get(to, "/bytes?head=2000", 5_000).await,
            Shape::HalfBody => self.get(to, "/bytes?half=2000", 50_000).await,
            Shape::HalfChunked => self.get(to, "/bytes?half=2000&chunked=1", 50_000).await,
            Shape::Post => self.post(to).await,
            Shape::Upload => self.upload(to).await,
            Shape::Echo => self.echo(to).await,
            Shape::Tunnel => self.tunnel(to).await,
        }
    }

    fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target, &self.host).with("x-token", &self.seed.to_string())
    }

    async fn get(&self, to: &mut Connection, path: &str, count: usize) -> io::Result<String> {
        let and = if path.contains('?') { '&' } else { '?' };
        let (head, body) = to
            .exchange(&self.request("GET", &format!("{path}{and}n={count}")))
            .await?;
        let origin = origin(&head, &body)?;
        if body != pattern::bytes(self.seed, count) {
            return Err(invalid(format!(
                "a wrong body of {} bytes, expected {count}, from {origin}",
                body.len()
            )));
        }
        Ok(origin)
    }

    async fn post(&self, to: &mut Connection) -> io::Result<String> {
        let content = pattern::bytes(self.seed, 3_000);
        let (head, body) = to
            .exchange(&self.request("POST", "/digest").body(content.clone()))
            .await?;
        digested(&head, &body, &content)
    }

    async fn upload(&self, to: &mut Connection) -> io::Result<String> {
        let content = pattern::bytes(self.seed, 10_000);
        // Both framings take turns; the trickle is the same.
        let chunked = self.asked % 4 < 2;
        let request = self.request("POST", "/digest");
        let request = match chunked {
            true => request.with("transfer-encoding", "chunked"),
            false => request.with("content-length", &content.len().to_string()),
        };
        to.writer.send(&request.encode_head()).await?;
        for piece in content.chunks(content.len() / TRICKLES) {
            tokio::time::sleep(TRICKLE).await;
            match chunked {
                true => to.writer.chunk(piece).await?,
                false => to.writer.send(piece).await?,
            }
        }
        if chunked {
            to.writer.send(b"0\r\n\r\n").await?;
        }
        let head = to.reader.final_head().await?;
        let body = Body::of_answer(&head, "POST")?.all(&mut to.reader).await?;
        digested(&head, &body, &content)
    }

    async fn echo(&self, to: &mut Connection) -> io::Result<String> {
        let content = pattern::bytes(self.seed, 10_000);
        let request = self
            .request("POST", "/echo")
            .with("content-length", &content.len().to_string());
        to.writer.send(&request.encode_head()).await?;
        let head = to.reader.final_head().await?;
        let origin = origin(&head, b"")?;
        let mut body = Body::of_answer(&head, "POST")?;
        for piece in content.chunks(content.len() / 5) {
            to.writer.send(piece).await?;
            let mut back = Vec::new();
            while back.len() < piece.len() {
                let next = body.next(&mut to.reader).await?;
                back.extend(next.ok_or_else(|| invalid(format!("the echo of {origin} ended early")))?);
            }
            if back != piece {
                return Err(invalid(format!("a wrong echo from {origin}")));
            }
            tokio::time::sleep(TRICKLE).await;
        }
        match body.next(&mut to.reader).await? {
            None => Ok(origin),
            Some(_) => Err(invalid("the echo goes on after its end")),
        }
    }

    async fn tunnel(&self, to: &mut Connection) -> io::Result<String> {
        let request = self
            .request("GET", "/tunnel")
            .with("connection", "upgrade")
            .with("upgrade", "websocket");
        let request = request
            .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .with("sec-websocket-version", "13");
        let head = to.ask(&request).await?;
        let origin = head.field("x-origin").unwrap_or("nobody").to_owned();
        if head.status != 101 {
            return Err(invalid(format!("{} instead of 101, from {origin}", head.status)));
        }
        for round in 0..TRICKLES {
            let sent = pattern::bytes(self.seed + round as u64, 500);
            to.writer.send(&sent).await?;
            if to.reader.exact(sent.len()).await? != sent {
                return Err(invalid(format!("a wrong echo in the tunnel, from {origin}")));
            }
            tokio::time::sleep(TRICKLE).await;
        }
        to.writer.send(b"bye\n").await?;
        match to.reader.exact(4).await?.as_slice() {
            b"bye\n" if to.reader.ended().await => Ok(origin),
            _ => Err(invalid(format!(
                "the tunnel to {origin} does not end as its origin ended it"
            ))),
        }
    }
}

/// The origin that gave a 200 on a connection that stays open.
fn origin(head: &Head, body: &[u8]) -> io::Result<String> {
    if head.status != 200 {
        return Err(invalid(format!(
            "status {}: {}",
            head.status,
            String::from_utf8_lossy(body)
        )));
    }
    if head.closes() {
        return Err(invalid("the proxy ends a kept connection"));
    }
    head.field("x-origin")
        .map(str::to_owned)
        .ok_or_else(|| invalid("no origin is named"))
}

fn digested(head: &Head, body: &[u8], content: &[u8]) -> io::Result<String> {
    let origin = origin(head, body)?;
    let expected = format!("{} {}", content.len(), Sum::of(content));
    match String::from_utf8_lossy(body) {
        told if told == expected => Ok(origin),
        told => Err(invalid(format!("{origin} received {told}, sent was {expected}"))),
    }
}

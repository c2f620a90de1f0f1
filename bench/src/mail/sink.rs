//! The application behind every mail server: reads each message and answers 200, and grants `bench` to whoever asks for
//! authorization.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::background::Background;

pub const AUTHORIZE: &str = "/authorize";

const HEADERS: usize = 64;
const BUFFER: usize = 64 * 1024;
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\ntaken\n";
const GRANTED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{\"auth_token\":\"bench\"}";

/// On a thread of its own.
pub struct Sink {
    server: Background,
    taken: Arc<AtomicU64>,
}

impl Sink {
    pub fn start() -> io::Result<Sink> {
        let taken = Arc::<AtomicU64>::default();
        let counted = taken.clone();
        let server = Background::start(move |stream| {
            let mut connection = Connection {
                stream,
                read: Vec::with_capacity(BUFFER),
            };
            let counted = counted.clone();
            async move {
                let _closed = connection.serve(&counted).await;
            }
        })?;
        Ok(Sink { server, taken })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Messages so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    async fn serve(&mut self, taken: &AtomicU64) -> io::Result<()> {
        loop {
            let (is_question, framing) = self.head().await?;
            match framing {
                Framing::Length(length) => self.skip(length).await?,
                Framing::Chunked => self.chunks().await?,
            }
            if is_question {
                self.stream.write_all(GRANTED).await?;
            } else {
                taken.fetch_add(1, Relaxed);
                self.stream.write_all(TAKEN).await?;
            }
        }
    }

    async fn head(&mut self) -> io::Result<(bool, Framing)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            if let httparse::Status::Complete(end) = parsed.parse(&self.read).map_err(io::Error::other)? {
                let is_question = parsed.path == Some(AUTHORIZE);
                let framing = framing(parsed.headers)?;
                self.read.drain(..end);
                return Ok((is_question, framing));
            }
            self.more().await?;
        }
    }

    async fn chunks(&mut self) -> io::Result<()> {
        loop {
            let end = loop {
                match self.read.windows(2).position(|pair| pair == b"\r\n") {
                    Some(end) => break end,
                    None => self.more().await?,
                }
            };
            let size = std::str::from_utf8(&self.read[..end]).map_err(io::Error::other)?;
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            self.read.drain(..end + 2);
            self.skip(size + 2).await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn skip(&mut self, mut left: usize) -> io::Result<()> {
        loop {
            let part = left.min(self.read.len());
            self.read.drain(..part);
            left -= part;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.read.len() >= BUFFER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.read.reserve(BUFFER - self.read.len());
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn framing(headers: &[httparse::Header<'_>]) -> io::Result<Framing> {
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Framing::Chunked);
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = std::str::from_utf8(header.value).map_err(io::Error::other)?;
            return Ok(Framing::Length(length.parse().map_err(io::Error::other)?));
        }
    }
    Ok(Framing::Length(0))
}

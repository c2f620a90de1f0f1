//! A strict HTTP/1.1 reader and writer over one TCP connection, for clients and origins of the tests.
//!
//! It repairs nothing: what RFC 9112 forbids is an error here, so that a proxy's slip fails a test instead of being
//! read kindly. Every wait ends: connecting after 5 s, a read without a byte after `patience`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

mod body;
mod head;

pub use body::{Body, Framing};
pub use head::{Fields, Head, Request, RequestLine};

const CONNECT: Duration = Duration::from_secs(5);
const WRITE: Duration = Duration::from_secs(30);
const LINE_MAX: usize = 128 * 1024;

pub fn invalid(detail: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail.into())
}

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no progress: {what}"))
}

/// One connection; its halves may be moved to different tasks.
pub struct Connection {
    pub reader: Reader,
    pub writer: Writer,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Connection {
        // Small writes are the point of many shapes; Nagle would join them.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        Connection {
            reader: Reader {
                half: read,
                buffer: Vec::new(),
                patience: Duration::from_secs(30),
            },
            writer: Writer(write),
        }
    }

    pub async fn connect(to: SocketAddr) -> io::Result<Connection> {
        let stream = timeout(CONNECT, TcpStream::connect(to))
            .await
            .map_err(|_| late("connect"))??;
        Ok(Connection::new(stream))
    }

    /// Sends a whole request and reads the head of its final answer.
    pub async fn ask(&mut self, request: &Request) -> io::Result<Head> {
        self.writer.send(&request.encode()).await?;
        self.reader.final_head().await
    }

    /// Sends a whole request and reads its whole answer.
    pub async fn exchange(&mut self, request: &Request) -> io::Result<(Head, Vec<u8>)> {
        let head = self.ask(request).await?;
        let bytes = Body::of_answer(&head, &request.method)?.all(&mut self.reader).await?;
        Ok((head, bytes))
    }
}

pub struct Writer(OwnedWriteHalf);

impl Writer {
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(WRITE, self.0.write_all(bytes))
            .await
            .map_err(|_| late("write"))?
    }

    /// Sends `bytes` as one chunk of a chunked body.
    pub async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.send(&framed).await
    }

    pub async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

pub struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
    /// How long a read may go without a byte.
    pub patience: Duration,
}

impl Reader {
    /// Reads once more into the buffer; false at the peer's end.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let read = timeout(self.patience, self.half.read(&mut chunk))
            .await
            .map_err(|_| late("read"))??;
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }

    /// One line without its CRLF; `None` when the peer ended before its first byte.
    pub async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line
                    .strip_suffix(b"\r\n")
                    .ok_or_else(|| invalid("a line ends in a bare LF"))?;
                return String::from_utf8(line.to_vec())
                    .map(Some)
                    .map_err(|_| invalid("a line is not UTF-8"));
            }
            if self.buffer.len() > LINE_MAX {
                return Err(invalid("a line has no end"));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(invalid("the end came within a line"))
                };
            }
        }
    }

    /// Between 1 and `max` bytes; empty only at the peer's end.
    pub async fn some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let take = self.buffer.len().min(max);
        Ok(self.buffer.drain(..take).collect())
    }

    pub async fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await? {
                return Err(invalid(format!(
                    "the end came after {} of {count} bytes",
                    self.buffer.len()
                )));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// The next head of an answer, 1xx included.
    pub async fn head(&mut self) -> io::Result<Head> {
        let line = self
            .line()
            .await?
            .ok_or_else(|| invalid("the connection ended before an answer"))?;
        Head::new(&line, self.fields().await?)
    }

    /// The next head that is neither 100 nor 103.
    pub async fn final_head(&mut self) -> io::Result<Head> {
        for _ in 0..16 {
            let head = self.head().await?;
            if !matches!(head.status, 100 | 102 | 103) {
                return Ok(head);
            }
        }
        Err(invalid("an endless row of 1xx"))
    }

    /// The head of a request; `None` when the client has gone between two requests.
    pub async fn request(&mut self) -> io::Result<Option<(RequestLine, Fields)>> {
        match self.line().await? {
            None => Ok(None),
            Some(line) => Ok(Some((RequestLine::new(&line)?, self.fields().await?))),
        }
    }

    pub(crate) async fn fields(&mut self) -> io::Result<Fields> {
        let mut fields = Fields::default();
        loop {
            let line = self
                .line()
                .await?
                .ok_or_else(|| invalid("the end came within a head"))?;
            if line.is_empty() {
                return Ok(fields);
            }
            fields.push(&line)?;
        }
    }

    /// Returns once the peer has ended the connection; what it sends until then is kept.
    pub async fn gone(&mut self) {
        while matches!(self.fill().await, Ok(true)) {}
    }

    /// Whether the peer has ended the connection and sent nothing before that.
    pub async fn ended(&mut self) -> bool {
        self.buffer.is_empty() && matches!(self.fill().await, Ok(false))
    }
}

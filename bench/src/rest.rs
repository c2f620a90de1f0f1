//! A blocking client of the REST API on one kept connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any `timeout=` that is asked for here, but for what is said to take longer.
const PATIENCE: Duration = Duration::from_secs(120);
const BODY_MAX: u64 = 256 << 20;

pub struct Client {
    address: SocketAddr,
    /// The `Host` field; the address unless said otherwise.
    host: String,
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// Anything but a 2xx is an error that shows the body.
    pub fn success(self) -> io::Result<Answer> {
        match self.status {
            200..=299 => Ok(self),
            status => Err(io::Error::other(format!(
                "answered {status}: {}",
                String::from_utf8_lossy(&self.body)
            ))),
        }
    }

    pub fn json(&self) -> io::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client::for_host(address, &address.to_string())
    }

    pub fn for_host(address: SocketAddr, host: &str) -> Client {
        Client {
            address,
            host: host.into(),
            patience: PATIENCE,
            stream: None,
        }
    }

    /// Waits so long for each part of an answer.
    pub fn patient(address: SocketAddr, patience: Duration) -> Client {
        Client {
            patience,
            ..Client::new(address)
        }
    }

    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.call("GET", path, "", None)
    }

    pub fn get_as(&mut self, path: &str, media: &str) -> io::Result<Answer> {
        self.call("GET", path, &format!("Accept: {media}\r\n"), None)
    }

    /// Only of what is idempotent.
    pub fn post(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.call("POST", path, "", Some(body))
    }

    pub fn put(&mut self, path: &str, body: &str) -> io::Result<Answer> {
        self.call("PUT", path, "", Some(body))
    }

    pub fn delete(&mut self, path: &str) -> io::Result<Answer> {
        self.call("DELETE", path, "", None)
    }

    /// Every call here is idempotent: one that meets the end of a kept connection is made once more on a new one.
    fn call(&mut self, method: &str, path: &str, fields: &str, body: Option<&str>) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}", self.host);
        if let Some(body) = body {
            request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body.unwrap_or_default();
        let kept = self.stream.is_some();
        match self.exchange(request.as_bytes()) {
            Err(error) if kept && is_end(&error) => self.exchange(request.as_bytes()),
            other => other,
        }
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(request)?;
        let (answer, keep) = read_answer(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// The answer, and whether the connection may be used again.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<(Answer, bool)> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {first:?}")))?;
    let (mut length, mut chunked, mut keep) = (0, false, true);
    loop {
        let field = line(stream)?.to_ascii_lowercase();
        match field.split_once(':').map(|(name, value)| (name, value.trim())) {
            None => break,
            Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("connection", "close")) => keep = false,
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        while chunk(stream, &mut body)? {}
    } else {
        exactly(stream, length, &mut body)?;
    }
    Ok((Answer { status, body }, keep))
}

fn chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let size = u64::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)?;
    exactly(stream, size, body)?;
    line(stream)?;
    Ok(size > 0)
}

fn exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() as u64 + length > BODY_MAX {
        return Err(io::Error::other("an answer beyond 256 MiB"));
    }
    match stream.by_ref().take(length).read_to_end(body)? as u64 == length {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Without its CRLF.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.by_ref().take(64 * 1024).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

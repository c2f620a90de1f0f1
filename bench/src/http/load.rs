//! A closed loop of keep-alive connections on one thread: each sends its next request when the last answer is whole.
//! Every status and every byte count is checked; whatever else comes is a failure, and that connection is opened anew.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::origin::{LARGE, SMALL};
use super::wire;
use crate::histogram::Histogram;

/// More than this, and the run is given up: there is nothing to measure.
const FAILURES_MAX: u64 = 1_000;
const HEAD_MAX: usize = 64 * 1024;
const UPLOAD: usize = 10 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// An answer of 120 bytes.
    Small,
    /// An answer of 64 KiB.
    Large,
    /// A body of 10 KiB, answered by 120 bytes.
    Upload,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Small => "120 B answer",
            Mode::Large => "64 KiB answer",
            Mode::Upload => "10 KiB upload",
        }
    }

    fn request(self, host: &str) -> Vec<u8> {
        let fields = format!("Host: {host}\r\nUser-Agent: vulcan-bench\r\nAccept: */*\r\n");
        match self {
            Mode::Small => format!("GET /small HTTP/1.1\r\n{fields}\r\n").into_bytes(),
            Mode::Large => format!("GET /large HTTP/1.1\r\n{fields}\r\n").into_bytes(),
            Mode::Upload => {
                let head = format!("POST /upload HTTP/1.1\r\n{fields}Content-Length: {UPLOAD}\r\n\r\n");
                let mut request = head.into_bytes();
                request.resize(request.len() + UPLOAD, b'u');
                request
            }
        }
    }

    fn length(self) -> u64 {
        if self == Mode::Large { LARGE } else { SMALL }
    }
}

pub struct Load {
    poll: Poll,
    target: SocketAddr,
    request: Vec<u8>,
    length: u64,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    outcome: Outcome,
}

#[derive(Default)]
pub struct Outcome {
    pub latencies: Histogram,
    pub elapsed: Duration,
    pub failures: u64,
    /// The first of them, in words.
    pub failure: Option<String>,
}

struct Connection {
    stream: TcpStream,
    started: Instant,
    written: usize,
    /// Of an answer's head that is not complete yet.
    head: Vec<u8>,
    /// Of the answer's body; `None` while its head is awaited.
    left: Option<u64>,
}

impl Load {
    pub fn new(target: SocketAddr, host: &str, mode: Mode, connections: usize) -> io::Result<Load> {
        let mut load = Load {
            poll: Poll::new()?,
            target,
            request: mode.request(host),
            length: mode.length(),
            connections: Vec::with_capacity(connections),
            scratch: vec![0; 256 * 1024],
            outcome: Outcome::default(),
        };
        for index in 0..connections {
            let connection = load.open(index)?;
            load.connections.push(connection);
        }
        Ok(load)
    }

    /// Goes on for `duration`; connections and what they wait for stay for the next call.
    pub fn run(&mut self, duration: Duration) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(1024);
        let began = Instant::now();
        let until = began + duration;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let Token(index) = event.token();
                if let Err(error) = self.progress(index, event.is_read_closed()) {
                    self.failed(index, &error)?;
                }
            }
        }
        self.outcome.elapsed = began.elapsed();
        Ok(std::mem::take(&mut self.outcome))
    }

    fn open(&self, index: usize) -> io::Result<Connection> {
        let mut stream = TcpStream::connect(self.target)?;
        stream.set_nodelay(true)?;
        self.poll
            .registry()
            .register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection {
            stream,
            started: Instant::now(),
            written: 0,
            head: Vec::new(),
            left: None,
        })
    }

    fn failed(&mut self, index: usize, error: &io::Error) -> io::Result<()> {
        self.outcome.failures += 1;
        self.outcome.failure.get_or_insert_with(|| error.to_string());
        if self.outcome.failures > FAILURES_MAX {
            return Err(io::Error::other(format!(
                "{} failed requests, the first: {error}",
                self.outcome.failures
            )));
        }
        self.connections[index] = self.open(index)?;
        Ok(())
    }

    fn progress(&mut self, index: usize, closing: bool) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.send(&self.request)?;
        loop {
            let read = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Err(io::Error::other("closed before the answer")),
                Ok(read) => read,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if connection.take(&self.scratch[..read], self.length)? {
                let now = Instant::now();
                self.outcome.latencies.record(now - connection.started);
                (connection.started, connection.written, connection.left) = (now, 0, None);
                connection.send(&self.request)?;
            }
            // A short read leaves nothing behind: the next bytes raise a new event, unless the end has come already.
            if read < self.scratch.len() && !closing {
                return Ok(());
            }
        }
    }
}

impl Connection {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(part) => self.written += part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the answer is whole.
    fn take(&mut self, bytes: &[u8], length: u64) -> io::Result<bool> {
        let (left, body) = match self.left {
            Some(left) => (left, bytes.len()),
            None => {
                let held = !self.head.is_empty();
                if held {
                    self.head.extend_from_slice(bytes);
                }
                let whole = if held { &self.head } else { bytes };
                let Some(answer) = wire::answer(whole)? else {
                    let endless = whole.len() > HEAD_MAX;
                    if !held {
                        self.head.extend_from_slice(bytes);
                    }
                    return if endless {
                        Err(io::Error::other("an endless head"))
                    } else {
                        Ok(false)
                    };
                };
                let body = whole.len() - answer.head;
                self.head.clear();
                if answer.status != 200 || answer.length != length {
                    let what = format!("answered {} with {} bytes", answer.status, answer.length);
                    return Err(io::Error::other(what));
                }
                (answer.length, body)
            }
        };
        let left = left
            .checked_sub(body as u64)
            .ok_or_else(|| io::Error::other("more bytes than announced"))?;
        self.left = Some(left);
        Ok(left == 0)
    }
}

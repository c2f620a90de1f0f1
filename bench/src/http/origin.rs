//! The server behind every proxy: one thread, one `epoll`, answers made in advance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::wire::{self, Path};

/// Bytes of the small answer's body; an upload is answered by it too.
pub const SMALL: u64 = 120;
pub const LARGE: u64 = 64 * 1024;

const LISTENER: Token = Token(usize::MAX);
const CONNECTIONS_MAX: usize = 16_384;
const HEAD_MAX: usize = 64 * 1024;

pub struct Origin {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Answers that wait for their time, by connection and its generation.
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    generations: u64,
    answers: Answers,
    scratch: Vec<u8>,
}

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    unknown: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    generation: u64,
    /// Of a request whose head is not complete yet.
    unread: Vec<u8>,
    doing: Doing,
}

#[derive(Clone, Copy)]
enum Doing {
    Reading,
    /// So many bytes of the body are still to come; then this is answered.
    Body(Path, u64),
    /// The answer is due after so many milliseconds.
    Waiting(u64),
    /// So many bytes of the answer are written.
    Answering(Path, usize),
}

impl Origin {
    pub fn bind(address: SocketAddr) -> io::Result<Origin> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Origin {
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            generations: 0,
            answers: Answers::default(),
            scratch: vec![0; 256 * 1024],
        })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let next = self
                .timers
                .peek()
                .map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, next) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => self.serve(index, event.is_read_closed()),
                }
            }
            self.fire();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => continue,
            };
            if self.connections.len() - self.free.len() >= CONNECTIONS_MAX {
                continue;
            }
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.poll
                .registry()
                .register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            self.generations += 1;
            self.connections[index] = Some(Connection {
                stream,
                generation: self.generations,
                unread: Vec::new(),
                doing: Doing::Reading,
            });
        }
    }

    fn serve(&mut self, index: usize, closing: bool) {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        let result = connection.progress(&self.answers, &mut self.scratch, closing);
        let generation = connection.generation;
        match result {
            Ok(None) => {}
            Ok(Some(wait)) => self.timers.push(Reverse((Instant::now() + wait, index, generation))),
            Err(_) => {
                self.connections[index] = None;
                self.free.push(index);
            }
        }
    }

    fn fire(&mut self) {
        while let Some(Reverse((at, index, generation))) = self.timers.peek().copied() {
            if at > Instant::now() {
                return;
            }
            self.timers.pop();
            if let Some(Some(connection)) = self.connections.get_mut(index)
                && connection.generation == generation
            {
                connection.doing = Doing::Answering(Path::Small, 0);
                self.serve(index, false);
            }
        }
    }
}

impl Connection {
    /// Reads and writes what the socket allows. A duration: the answer is due after it. An error: it is over.
    fn progress(&mut self, answers: &Answers, scratch: &mut [u8], closing: bool) -> io::Result<Option<Duration>> {
        self.flush(answers)?;
        loop {
            let read = match self.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.take(&scratch[..read])?;
            self.flush(answers)?;
            if let Doing::Waiting(ms) = self.doing {
                return Ok(Some(Duration::from_millis(ms)));
            }
            // A short read leaves nothing behind: the next bytes raise a new event, unless the end has come already.
            if read < scratch.len() && !closing {
                return Ok(None);
            }
        }
    }

    /// Proxies do not pipeline: bytes beyond the request that is being answered are an error.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (path, left, body) = match self.doing {
            Doing::Body(path, left) => (path, left, bytes.len()),
            Doing::Reading => {
                let held = !self.unread.is_empty();
                if held {
                    self.unread.extend_from_slice(bytes);
                }
                let whole = if held { &self.unread } else { bytes };
                let Some(request) = wire::request(whole)? else {
                    let endless = whole.len() > HEAD_MAX;
                    if !held {
                        self.unread.extend_from_slice(bytes);
                    }
                    return if endless {
                        Err(io::ErrorKind::InvalidData.into())
                    } else {
                        Ok(())
                    };
                };
                let body = whole.len() - request.head;
                self.unread.clear();
                (request.path, request.length, body)
            }
            Doing::Waiting(_) | Doing::Answering(..) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let left = left.checked_sub(body as u64).ok_or(io::ErrorKind::InvalidData)?;
        self.doing = match (left, path) {
            (0, Path::Wait(ms)) => Doing::Waiting(ms),
            (0, path) => Doing::Answering(path, 0),
            (left, path) => Doing::Body(path, left),
        };
        Ok(())
    }

    fn flush(&mut self, answers: &Answers) -> io::Result<()> {
        let Doing::Answering(path, mut written) = self.doing else {
            return Ok(());
        };
        let answer = answers.of(path);
        while written < answer.len() {
            match self.stream.write(&answer[written..]) {
                Ok(part) => written += part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.doing = Doing::Answering(path, written);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.doing = Doing::Reading;
        Ok(())
    }
}

impl Default for Answers {
    fn default() -> Answers {
        let answer = |status: &str, length: u64| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
            let mut bytes = head.into_bytes();
            bytes.extend((0..length).map(|n| b"0123456789abcdef"[n as usize % 16]));
            bytes
        };
        Answers {
            small: answer("200 OK", SMALL),
            large: answer("200 OK", LARGE),
            unknown: answer("404 Not Found", 0),
        }
    }
}

impl Answers {
    fn of(&self, path: Path) -> &[u8] {
        match path {
            Path::Small | Path::Wait(_) => &self.small,
            Path::Large => &self.large,
            Path::Unknown => &self.unknown,
        }
    }
}

//! Between proxies and their control plane: hands every byte on, and counts what they say to each other about limits.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use shared::quota::{Said, Told};
use shared::stream::message::{Down, Up};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::background::Background;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
/// A line longer than this is no line of this protocol.
const LINE_MAX: usize = 8 << 20;

#[derive(Default)]
pub struct Counts {
    /// About limits, both ways.
    messages: AtomicU64,
    /// Of them those that say no more than that somebody is there.
    beats: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub messages: u64,
    pub beats: u64,
    pub bytes: u64,
}

impl std::ops::Sub for Count {
    type Output = Count;

    fn sub(self, before: Count) -> Count {
        Count {
            messages: self.messages - before.messages,
            beats: self.beats - before.beats,
            bytes: self.bytes - before.bytes,
        }
    }
}

pub struct Relay {
    server: Background,
    target: Arc<Mutex<SocketAddr>>,
    counts: Arc<Counts>,
}

impl Relay {
    pub fn start(target: SocketAddr) -> io::Result<Relay> {
        let target = Arc::new(Mutex::new(target));
        let counts = Arc::<Counts>::default();
        let (to, counted) = (target.clone(), counts.clone());
        let server = Background::start(move |stream| {
            let (to, counts) = (to.clone(), counted.clone());
            async move {
                let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
                let _closed = relay(stream, to, &counts).await;
            }
        })?;
        Ok(Relay { server, target, counts })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// From the next connection on.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    pub fn count(&self) -> Count {
        Count {
            messages: self.counts.messages.load(Relaxed),
            beats: self.counts.beats.load(Relaxed),
            bytes: self.counts.bytes.load(Relaxed),
        }
    }
}

/// Until one end closes: then the other is closed as well.
async fn relay(mut proxy: TcpStream, to: SocketAddr, counts: &Counts) -> io::Result<()> {
    let mut plane = TcpStream::connect(to).await?;
    plane.set_nodelay(true)?;
    let (proxy_reads, proxy_writes) = proxy.split();
    let (plane_reads, plane_writes) = plane.split();
    tokio::select! {
        end = hand_on(proxy_reads, plane_writes, Lines::of_client(), |line| counts.up(line)) => end,
        end = hand_on(plane_reads, proxy_writes, Lines::of_server(), |line| counts.down(line)) => end,
    }
}

async fn hand_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut lines: Lines,
    mut count: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
        lines.feed(&bytes[..read], &mut count);
    }
}

impl Counts {
    fn up(&self, line: &[u8]) {
        if let Ok(Up::Limits(up)) = serde_json::from_slice(line) {
            let is_beat = up.items.iter().all(|said| matches!(said, Said::Beat { .. }));
            self.note(line, is_beat);
        }
    }

    fn down(&self, line: &[u8]) {
        if let Ok(Down::Limits(down)) = serde_json::from_slice(line) {
            let is_beat = |told: &Told| matches!(told, Told::Beat { .. } | Told::Standby(_));
            self.note(line, down.items.iter().all(is_beat));
        }
    }

    fn note(&self, line: &[u8], is_beat: bool) {
        self.messages.fetch_add(1, Relaxed);
        self.beats.fetch_add(u64::from(is_beat), Relaxed);
        self.bytes.fetch_add(line.len() as u64, Relaxed);
    }
}

/// The lines in one direction of an HTTP/2 connection (RFC 9113), by stream.
struct Lines {
    state: State,
    partial: Vec<u8>,
    streams: BTreeMap<u32, Vec<u8>>,
}

#[derive(PartialEq)]
enum State {
    Preface,
    FirstFrame,
    Frames,
    /// It is something else.
    Blind,
}

impl Lines {
    fn of_client() -> Lines {
        Lines::new(State::Preface)
    }

    fn of_server() -> Lines {
        Lines::new(State::FirstFrame)
    }

    fn new(state: State) -> Lines {
        Lines {
            state,
            partial: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8], handle: &mut impl FnMut(&[u8])) {
        if self.state == State::Blind {
            return;
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let mut rest = &joined[..];
        if self.state == State::Preface && rest.len() >= PREFACE.len() {
            self.state = match rest.strip_prefix(PREFACE) {
                Some(frames) => {
                    rest = frames;
                    State::FirstFrame
                }
                None => State::Blind,
            };
        }
        while let State::FirstFrame | State::Frames = self.state
            && let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD>()
        {
            if self.state == State::FirstFrame {
                self.state = if head[3] == SETTINGS {
                    State::Frames
                } else {
                    State::Blind
                };
                continue;
            }
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some((payload, next)) = after.split_at_checked(length) else {
                break;
            };
            if head[3] == DATA {
                // Neither side pads.
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                self.data(stream, payload, handle);
            }
            rest = next;
        }
        self.partial = rest.to_vec();
    }

    fn data(&mut self, stream: u32, payload: &[u8], handle: &mut impl FnMut(&[u8])) {
        let line = self.streams.entry(stream).or_default();
        for part in payload.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") {
                handle(line);
                line.clear();
            }
        }
        if line.len() > LINE_MAX {
            self.state = State::Blind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let head = [0, 0, payload.len() as u8, kind, 0, 0, 0, 0, stream];
        [&head[..], payload].concat()
    }

    #[test]
    fn lines_are_found_however_the_bytes_are_cut() {
        let bytes = [
            PREFACE.to_vec(),
            frame(SETTINGS, 0, b"\n\n"),
            frame(DATA, 1, b"one\ntw"),
            frame(DATA, 3, b"other\n"),
            frame(DATA, 1, b"o\n"),
        ]
        .concat();
        for size in 1..bytes.len() {
            let (mut lines, mut found) = (Lines::of_client(), Vec::new());
            let mut handle = |line: &[u8]| found.push(line.to_vec());
            bytes.chunks(size).for_each(|chunk| lines.feed(chunk, &mut handle));
            assert_eq!(found, [&b"one\n"[..], b"other\n", b"two\n"]);
        }
    }

    #[test]
    fn other_protocols_are_only_handed_on() {
        for mut lines in [Lines::of_client(), Lines::of_server()] {
            lines.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &mut |_| {
                panic!("a line")
            });
            assert!(lines.state == State::Blind && lines.streams.is_empty());
        }
    }
}

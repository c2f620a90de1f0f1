//! SMTP clients of our own: they log in, send ahead what may be sent ahead (RFC 2920), and measure each message from its
//! MAIL to the reply to its data.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use crate::histogram::Histogram;

/// For a reply.
const WITHIN: Duration = Duration::from_secs(120);
const REPLY_MAX: usize = 64 * 1024;
/// `\0bench\0bench`, in base64.
const LOGIN: &[u8] = b"AUTH PLAIN AGJlbmNoAGJlbmNo\r\n";

#[derive(Clone)]
pub struct Load {
    pub server: SocketAddr,
    pub sessions: usize,
    /// They log in before they send.
    pub is_authorized: bool,
    /// A recipient's address.
    pub to: &'static str,
    /// With its end.
    pub data: Arc<Vec<u8>>,
}

#[derive(Default)]
pub struct Outcome {
    pub latencies: Histogram,
    pub elapsed: Duration,
    pub failures: u64,
    pub failure: Option<String>,
}

/// A message of about so many bytes, as it is sent.
pub fn data(bytes: usize) -> Arc<Vec<u8>> {
    let line = b"01234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    let mut data = b"From: a@sender.test\r\nSubject: bench\r\n\r\n".to_vec();
    while data.len() + line.len() <= bytes {
        data.extend_from_slice(line);
    }
    data.extend_from_slice(b".\r\n");
    Arc::new(data)
}

impl Load {
    /// Message after message on each session, for so long, and one at least; `then` is called while all sessions are still open.
    pub fn run(&self, lasting: Duration, then: impl FnOnce() -> io::Result<()>) -> io::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let mut sessions = self.open().await?;
            let began = Instant::now();
            let mut outcome = Outcome::default();
            let mut running = JoinSet::new();
            for mut session in sessions.drain(..) {
                let load = self.clone();
                running.spawn_local(async move {
                    let mut latencies = Histogram::default();
                    let mut failure = None;
                    loop {
                        let sent = Instant::now();
                        match session.send(load.to, &load.data).await {
                            Ok(()) => latencies.record(sent.elapsed()),
                            Err(error) => failure = Some(error.to_string()),
                        }
                        if failure.is_some() || began.elapsed() >= lasting {
                            break;
                        }
                    }
                    (session, latencies, failure)
                });
            }
            // Held open.
            let mut ended = Vec::new();
            while let Some(session) = running.join_next().await {
                let (session, latencies, failure) = session.map_err(io::Error::other)?;
                outcome.latencies.merge(&latencies);
                outcome.failures += u64::from(failure.is_some());
                outcome.failure = outcome.failure.or(failure);
                ended.push(session);
            }
            outcome.elapsed = began.elapsed();
            then()?;
            Ok(outcome)
        })
    }

    /// All at a time: a server may let each of them wait for its greeting.
    async fn open(&self) -> io::Result<Vec<Session>> {
        let mut opening = JoinSet::new();
        for _ in 0..self.sessions {
            opening.spawn_local(Session::open(self.server, self.is_authorized));
        }
        let mut sessions = Vec::with_capacity(self.sessions);
        while let Some(session) = opening.join_next().await {
            sessions.push(session.map_err(io::Error::other)??);
        }
        Ok(sessions)
    }
}

struct Session {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Session {
    async fn open(server: SocketAddr, is_authorized: bool) -> io::Result<Session> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut session = Session {
            stream,
            read: Vec::new(),
        };
        session.expect(220).await?;
        session.stream.write_all(b"EHLO bench.test\r\n").await?;
        session.expect(250).await?;
        if is_authorized {
            session.stream.write_all(LOGIN).await?;
            session.expect(235).await?;
        }
        Ok(session)
    }

    async fn send(&mut self, to: &str, data: &[u8]) -> io::Result<()> {
        let ahead = format!("MAIL FROM:<a@sender.test>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        self.stream.write_all(ahead.as_bytes()).await?;
        for code in [250, 250, 354] {
            self.expect(code).await?;
        }
        self.stream.write_all(data).await?;
        self.expect(250).await
    }

    /// The next reply has to have this code.
    async fn expect(&mut self, code: u16) -> io::Result<()> {
        loop {
            if let Some((end, got)) = reply(&self.read)? {
                let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end);
                return match got == code {
                    true => Ok(()),
                    false => Err(io::Error::other(format!("{} instead of {code}", text.trim_end()))),
                };
            }
            if self.read.len() > REPLY_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let read = tokio::time::timeout(WITHIN, self.stream.read_buf(&mut self.read)).await??;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Where the first whole reply ends, and its code.
fn reply(bytes: &[u8]) -> io::Result<Option<(usize, u16)>> {
    let mut from = 0;
    while let Some(line) = bytes[from..].windows(2).position(|pair| pair == b"\r\n") {
        let text = &bytes[from..from + line];
        from += line + 2;
        if text.get(3) != Some(&b'-') {
            let code = text
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            let code = code.ok_or_else(|| io::Error::other(String::from_utf8_lossy(text).into_owned()))?;
            return Ok(Some((from, code)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_end_with_their_last_line() {
        let two = b"250-a\r\n250 b\r\n354 c\r\n".as_slice();
        assert_eq!(reply(two).unwrap(), Some((14, 250)));
        assert_eq!(reply(&two[14..]).unwrap(), Some((7, 354)));
        assert_eq!(reply(b"250-a\r\n250").unwrap(), None);
        assert!(reply(b"hello\r\n").is_err());
    }

    #[test]
    fn messages_are_about_as_long_as_they_are_to_be() {
        for bytes in [4 << 10, 1 << 20] {
            let length = data(bytes).len();
            assert!(length <= bytes + 3 && length + 100 > bytes, "{length}");
        }
    }
}

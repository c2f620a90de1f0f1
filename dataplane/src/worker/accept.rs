//! Taking connections from listeners, whatever the kernel says to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::ListenerKind;

const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Queued connections taken at a close: the kernel holds no more than the backlog.
const QUEUED_MAX: usize = 4096;

/// One for each kind of listener.
#[derive(Default)]
pub(super) struct Acceptors {
    http: Acceptor,
    smtp: Acceptor,
    smtps: Acceptor,
}

impl Acceptors {
    fn of(&mut self, kind: ListenerKind) -> &mut Acceptor {
        match kind {
            ListenerKind::Http => &mut self.http,
            ListenerKind::Smtp => &mut self.smtp,
            ListenerKind::Smtps => &mut self.smtps,
        }
    }

    pub(super) fn open(&mut self, kind: ListenerKind, listener: std::net::TcpListener) {
        self.of(kind).open(listener);
    }

    pub(super) fn any_open(&mut self) -> bool {
        ListenerKind::ALL.into_iter().any(|kind| self.of(kind).is_open())
    }

    /// Closes all listeners and gives what had been queued on them.
    pub(super) fn close(&mut self) -> Vec<(ListenerKind, TcpStream, SocketAddr)> {
        let queued = ListenerKind::ALL.into_iter().flat_map(|kind| {
            let queued = self.of(kind).close();
            queued.into_iter().map(move |(stream, peer)| (kind, stream, peer))
        });
        queued.collect()
    }

    /// The next connection of any. Safe to cancel.
    pub(super) async fn next(&mut self) -> (ListenerKind, TcpStream, SocketAddr) {
        let (kind, (stream, peer)) = tokio::select! {
            next = self.http.next() => (ListenerKind::Http, next),
            next = self.smtp.next() => (ListenerKind::Smtp, next),
            next = self.smtps.next() => (ListenerKind::Smtps, next),
        };
        (kind, stream, peer)
    }
}

/// Without a listener nothing ever comes.
#[derive(Default)]
struct Acceptor {
    listener: Option<TcpListener>,
    pause: Duration,
    /// Set while the process is out of descriptors or memory: accepting again at once would only spin.
    resume_at: Option<Instant>,
}

impl Acceptor {
    fn open(&mut self, listener: std::net::TcpListener) {
        match TcpListener::from_std(listener) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::error!(%error, "the listener cannot be watched"),
        }
    }

    fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Closes the listener and gives what had been queued on it.
    fn close(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        let Some(listener) = self.listener.take().and_then(|listener| listener.into_std().ok()) else {
            return Vec::new();
        };
        let queued = std::iter::from_fn(|| listener.accept().ok()).take(QUEUED_MAX);
        queued
            .filter_map(|(stream, peer)| prepared(stream).ok().map(|stream| (stream, peer)))
            .collect()
    }

    /// The next connection. Safe to cancel.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        let Some(listener) = &self.listener else {
            return std::future::pending().await;
        };
        loop {
            if let Some(at) = self.resume_at {
                tokio::time::sleep_until(at).await;
                self.resume_at = None;
            }
            match listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = Duration::ZERO;
                    // Fails only on a connection that is gone already.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) if is_about_the_client(&error) => {}
                Err(error) => {
                    self.pause = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
                    self.resume_at = Some(Instant::now() + self.pause);
                    tracing::warn!(%error, pause = ?self.pause, "accepting pauses");
                }
            }
        }
    }
}

fn prepared(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}

/// The connection was gone before it was taken (accept(2)): the next may be fine.
fn is_about_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

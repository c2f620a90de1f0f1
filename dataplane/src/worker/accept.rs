//! Taking connections from a listener, whatever the kernel says to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Queued connections taken at a close: the kernel holds no more than the backlog.
const QUEUED_MAX: usize = 4096;

/// Without a listener nothing ever comes.
#[derive(Default)]
pub(super) struct Acceptor {
    listener: Option<TcpListener>,
    pause: Duration,
    /// Set while the process is out of descriptors or memory: accepting again at once would only spin.
    resume_at: Option<Instant>,
}

impl Acceptor {
    pub(super) fn open(&mut self, listener: std::net::TcpListener) {
        match TcpListener::from_std(listener) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => tracing::error!(%error, "the listener cannot be watched"),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Closes the listener and gives what had been queued on it.
    pub(super) fn close(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        let Some(listener) = self.listener.take().and_then(|listener| listener.into_std().ok()) else {
            return Vec::new();
        };
        let queued = std::iter::from_fn(|| listener.accept().ok()).take(QUEUED_MAX);
        queued
            .filter_map(|(stream, peer)| prepared(stream).ok().map(|stream| (stream, peer)))
            .collect()
    }

    /// The next connection. Safe to cancel.
    pub(super) async fn next(&mut self) -> (TcpStream, SocketAddr) {
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

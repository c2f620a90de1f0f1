//! One line for each request, and for each message or refused recipient of mail.
//!
//! ```text
//! worker → its own bounded queue → one thread → file, or stdout
//! ```
//!
//! A worker never waits for it: what finds no room, and what cannot be written, is counted as dropped.

mod entry;
mod escape;
mod moment;
mod sink;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use self::entry::{Entry, token_hash};
use self::sink::Sink;

/// Lines that a worker may be ahead of the file.
const AHEAD_MAX: usize = 8 * 1024;
/// Bytes that are gathered for one write.
const BATCH_BYTES: usize = 256 * 1024;
/// Between two looks at the queues. A worker that answers a hundred thousand requests a second fills half of its own.
const PAUSE: Duration = Duration::from_millis(40);
/// For the last lines, once everything else has ended.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    File(PathBuf),
    Stdout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Combined,
}

/// The log of a proxy, open for as long as the process lives or until `close`.
pub struct AccessLog {
    format: Format,
    /// In every line of JSON.
    proxy: Arc<str>,
    is_file: bool,
    shared: Arc<Shared>,
    thread: Thread,
    ended: Mutex<Option<tokio::sync::oneshot::Receiver<()>>>,
}

#[derive(Default)]
struct Shared {
    dropped: AtomicU64,
    /// Queues that the thread has not taken over yet.
    queues: Mutex<Vec<Receiver<Vec<u8>>>>,
    reopens: AtomicBool,
    closes: AtomicBool,
}

impl AccessLog {
    /// Begins to write. `proxy`: by which name each line is told apart.
    pub fn open(target: Target, format: Format, proxy: &str) -> io::Result<AccessLog> {
        let is_file = matches!(target, Target::File(_));
        AccessLog::over(Sink::open(target)?, is_file, format, proxy)
    }

    fn over(sink: Sink, is_file: bool, format: Format, proxy: &str) -> io::Result<AccessLog> {
        let shared = Arc::<Shared>::default();
        let (over, ended) = tokio::sync::oneshot::channel();
        let writer = Writer {
            shared: shared.clone(),
            sink,
            queues: Vec::new(),
            batch: Vec::new(),
        };
        let body = move || {
            writer.run();
            // Nobody listens when the proxy has ended otherwise.
            let _ = over.send(());
        };
        let thread = thread::Builder::new().name("access-log".into()).spawn(body)?;
        Ok(AccessLog {
            format,
            proxy: proxy.into(),
            is_file,
            shared,
            thread: thread.thread().clone(),
            ended: Mutex::new(Some(ended)),
        })
    }

    /// One worker's own way to it.
    pub fn feed(&self) -> Feed {
        let (sender, queue) = sync_channel(AHEAD_MAX);
        self.shared.lock().push(queue);
        Feed {
            format: self.format,
            proxy: self.proxy.clone(),
            queue: sender,
            shared: self.shared.clone(),
        }
    }

    /// Lines that are not in the log.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file anew at each SIGHUP, as whoever has renamed it wants it, until `stop`.
    pub async fn follow_hangups(self: Arc<AccessLog>, stop: CancellationToken) {
        if !self.is_file {
            return;
        }
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "SIGHUP does not reopen the access log"),
        };
        while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
            self.reopen();
        }
    }

    fn reopen(&self) {
        self.shared.reopens.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }

    /// Writes what is there, if that can be done in time. To be called once nobody adds to it any more.
    pub async fn close(&self) {
        self.shared.closes.store(true, Ordering::SeqCst);
        self.thread.unpark();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && tokio::time::timeout(CLOSE_WITHIN, ended).await.is_err()
        {
            tracing::warn!("the last lines of the access log were not written in time");
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Receiver<Vec<u8>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

/// A worker's way to the log.
pub struct Feed {
    format: Format,
    proxy: Arc<str>,
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Feed {
    pub fn format(&self) -> Format {
        self.format
    }

    /// At once, or not at all.
    pub fn write(&self, entry: &Entry<'_>) {
        let line = match self.format {
            Format::Json => entry.to_json(&self.proxy),
            Format::Combined => entry.to_combined(),
        };
        if self.queue.try_send(line).is_err() {
            self.shared.drop_lines(1);
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    queues: Vec<Receiver<Vec<u8>>>,
    batch: Vec<u8>,
}

impl Writer {
    fn run(mut self) {
        loop {
            // Looked at before the queues: what was added before it was said is found.
            let closes = self.shared.closes.load(Ordering::SeqCst);
            if self.shared.reopens.swap(false, Ordering::SeqCst) {
                self.sink.reopen();
            }
            self.queues.append(&mut self.shared.lock());
            let is_full = self.gather();
            self.write();
            if is_full {
                continue;
            }
            if closes {
                return;
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Says whether there may be more.
    fn gather(&mut self) -> bool {
        for queue in &self.queues {
            while let Ok(line) = queue.try_recv() {
                self.batch.extend_from_slice(&line);
                if self.batch.len() >= BATCH_BYTES {
                    return true;
                }
            }
        }
        false
    }

    fn write(&mut self) {
        if !self.batch.is_empty() {
            self.shared.drop_lines(self.sink.write(&self.batch));
            self.batch.clear();
        }
    }
}

#[cfg(test)]
mod tests;

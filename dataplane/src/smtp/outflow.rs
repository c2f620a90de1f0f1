//! The body of a request that carries a message.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::http::Aborted;

/// Read of a file at a time, and held of it for one attempt.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Where a message is.
#[derive(Clone)]
pub enum Content {
    Memory(Bytes),
    /// Read at places, so that attempts share it.
    File {
        file: Arc<File>,
        len: u64,
    },
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File { len, .. } => *len,
        }
    }
}

/// How far the sending of a request, and the reading of its answer, has come.
#[derive(Default)]
pub struct Progress {
    moved_at: Cell<Option<Instant>>,
    is_taken: Cell<bool>,
}

impl Progress {
    /// A request is made, or made again.
    fn begin(&self) {
        self.is_taken.set(false);
        self.moved();
    }

    pub fn moved(&self) {
        self.moved_at.set(Some(Instant::now()));
    }

    /// Whether the connection has been given the whole of it.
    pub fn is_taken(&self) -> bool {
        self.is_taken.get()
    }

    /// None when nothing has moved for so long, from the beginning of the request on.
    pub async fn patient<T>(&self, patience: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        loop {
            let until = || self.moved_at.get().unwrap_or_else(Instant::now) + patience;
            match timeout_at(until(), &mut future).await {
                Ok(done) => return Some(done),
                Err(_) if Instant::now() < until() => {}
                Err(_) => return None,
            }
        }
    }
}

pub struct Outflow {
    before: Option<Bytes>,
    content: Content,
    /// How much of the content has gone.
    at: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    after: Option<Bytes>,
    progress: Option<Rc<Progress>>,
}

impl Outflow {
    pub fn new(before: Bytes, content: Content, after: Bytes) -> Outflow {
        let some = |bytes: Bytes| (!bytes.is_empty()).then_some(bytes);
        Outflow {
            before: some(before),
            content,
            at: 0,
            reading: None,
            after: some(after),
            progress: None,
        }
    }

    /// Of these bytes alone.
    pub fn of(bytes: Bytes) -> Outflow {
        Outflow::new(bytes, Content::Memory(Bytes::new()), Bytes::new())
    }

    /// Tells there how far it is.
    pub fn told(mut self, progress: &Rc<Progress>) -> Outflow {
        progress.begin();
        progress.is_taken.set(self.is_end_stream());
        self.progress = Some(progress.clone());
        self
    }

    /// Bytes that are left.
    pub fn len(&self) -> u64 {
        let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        of(&self.before) + self.content.len() - self.at + of(&self.after)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(before)));
        }
        let left = self.content.len() - self.at;
        if left == 0 {
            return Poll::Ready(self.after.take().map(Ok));
        }
        let read = match &self.content {
            Content::Memory(bytes) => Ok(bytes.clone()),
            Content::File { file, .. } => {
                let (file, at) = (file.clone(), self.at);
                let next = || spawn_blocking(move || read(&file, at, left.min(CHUNK_BYTES)));
                let read = ready!(Pin::new(self.reading.get_or_insert_with(next)).poll(cx));
                self.reading = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        if let Ok(bytes) = &read {
            self.at += bytes.len() as u64;
        }
        Poll::Ready(Some(read))
    }
}

fn read(file: &File, at: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}

impl Body for Outflow {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let outflow = self.get_mut();
        let next = ready!(outflow.poll_next(cx));
        if let Some(progress) = &outflow.progress {
            progress.moved();
            progress.is_taken.set(outflow.is_end_stream());
        }
        Poll::Ready(next.map(|read| match read {
            Ok(bytes) => Ok(Frame::data(bytes)),
            Err(error) => {
                tracing::error!(%error, "a message that was spooled cannot be read");
                Err(Aborted)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }
}

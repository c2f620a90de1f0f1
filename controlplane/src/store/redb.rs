//! The embedded engine: `Core` behind the port. Appends run one after another on a thread of their own, reads on the
//! runtime's threads for blocking work: an fsync never holds up a worker.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::change::{Commit, Revision};
use shared::state::State;
use tokio::sync::oneshot;

use super::core::Core;
use super::{AppendError, Log, OpenError, ReadError};

/// Appends and trims that may wait for the thread. The changelog has one of each in flight at most.
const JOBS_MAX: usize = 64;

type Job = Box<dyn FnOnce(&Core) + Send>;

pub struct RedbLog {
    core: Arc<Core>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl RedbLog {
    /// Blocks on the disk: once, at the start.
    pub fn open(path: &Path) -> Result<RedbLog, OpenError> {
        RedbLog::of(Core::open(path)?)
    }

    pub fn of(core: Core) -> Result<RedbLog, OpenError> {
        let core = Arc::new(core);
        let (jobs, queue) = sync_channel::<Job>(JOBS_MAX);
        let owned = core.clone();
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || queue.iter().for_each(|job| job(&owned)))
            .map_err(|error| OpenError::Io {
                path: Default::default(),
                detail: error.to_string(),
            })?;
        Ok(RedbLog {
            core,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// `None` as an answer: the thread died while it worked on it.
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<BoxFuture<'_, Option<T>>, ReadError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |core| drop(answer.send(work(core))));
        let queued = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        match queued {
            Some(Ok(())) => Ok(answered.map(Result::ok).boxed()),
            Some(Err(TrySendError::Full(_))) => Err(ReadError::Unavailable("too much is queued for the disk".into())),
            _ => Err(ReadError::Unavailable("its thread has ended".into())),
        }
    }

    fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let core = self.core.clone();
        async move {
            let read = tokio::task::spawn_blocking(move || read(&core)).await;
            read.unwrap_or_else(|error| Err(ReadError::Unavailable(error.to_string())))
        }
        .boxed()
    }
}

impl Log for RedbLog {
    fn append(&self, after: Revision, commit: Arc<Commit>) -> BoxFuture<'_, Result<(), AppendError>> {
        match self.on_thread(move |core| core.append(after, &commit)) {
            Ok(answer) => answer
                .map(|answer| answer.unwrap_or_else(|| Err(AppendError::Unknown("the store's thread died".into()))))
                .boxed(),
            Err(error) => async move { Err(AppendError::Unavailable(error.to_string())) }.boxed(),
        }
    }

    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>> {
        self.reading(move |core| core.read(from, max))
    }

    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        self.reading(Core::head)
    }

    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>> {
        self.reading(Core::load)
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        match self.on_thread(move |core| core.trim(below)) {
            Ok(answer) => answer
                .map(|answer| answer.unwrap_or_else(|| Err(ReadError::Unavailable("the store's thread died".into()))))
                .boxed(),
            Err(error) => async move { Err(error) }.boxed(),
        }
    }
}

impl Drop for RedbLog {
    /// The file is closed, and its lock free, when the last handle is gone.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

//! The embedded engine: `Core` behind the port. Appends run one after another on a thread of their own, reads on the
//! runtime's threads for blocking work: an fsync never holds up a worker.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::change::{Commit, Revision};
use shared::quota::{CellKey, CellValue, Outcome};
use shared::state::State;
use tokio::sync::oneshot;

use super::core::{Core, Swap};
use super::{AppendError, Cells, Log, OpenError, ReadError, RestoreError};

/// Writes that may wait for the thread. The changelog has two in flight at most, an owner of limits one a shard and one
/// an account.
const JOBS_MAX: usize = 1_024;

/// Swaps that go to the disk together.
const TOGETHER_MAX: usize = 256;

/// For a cell, whatever the disk does.
const CELL_WITHIN: Duration = Duration::from_secs(3);

enum Job {
    Run(Box<dyn FnOnce(&Core) + Send>),
    Swap(Box<Swap>, oneshot::Sender<Outcome>),
}

pub struct RedbLog(Arc<Engine>);

/// The file is closed, and its lock free, when the last handle is gone: the log's, and those of its cells.
struct Engine {
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
            .spawn(move || work(&owned, &queue))
            .map_err(|error| OpenError::Io {
                path: Default::default(),
                detail: error.to_string(),
            })?;
        Ok(RedbLog(Arc::new(Engine {
            core,
            jobs: Some(jobs),
            thread: Some(thread),
        })))
    }
}

/// One after another, but for swaps that wait together: a sync of the disk costs as much for all of them as for one.
fn work(core: &Core, queue: &Receiver<Job>) {
    let mut next = queue.recv().ok();
    while let Some(job) = next.take() {
        match job {
            Job::Run(work) => work(core),
            Job::Swap(swap, answer) => {
                let (mut swaps, mut answers) = (vec![*swap], vec![answer]);
                while swaps.len() < TOGETHER_MAX {
                    match queue.try_recv() {
                        Ok(Job::Swap(swap, answer)) => {
                            swaps.push(*swap);
                            answers.push(answer);
                        }
                        other => {
                            next = other.ok();
                            break;
                        }
                    }
                }
                let outcomes = core.swap_all(&swaps, now());
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever asked may have gone.
                    let _ = answer.send(outcome);
                }
            }
        }
        next = next.or_else(|| queue.recv().ok());
    }
}

/// Seconds since the Unix epoch: rows of days are let go of by it.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Engine {
    fn queue(&self, job: Job) -> Result<(), ReadError> {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(ReadError::Unavailable("too much is queued for the disk".into())),
            _ => Err(ReadError::Unavailable("its thread has ended".into())),
        }
    }

    /// `None` as an answer: the thread died while it worked on it.
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<BoxFuture<'_, Option<T>>, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Run(Box::new(move |core| drop(answer.send(work(core))))))?;
        Ok(answered.map(Result::ok).boxed())
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
        match self.0.on_thread(move |core| core.append(after, &commit)) {
            Ok(answer) => answer
                .map(|answer| answer.unwrap_or_else(|| Err(AppendError::Unknown("the store's thread died".into()))))
                .boxed(),
            Err(error) => async move { Err(AppendError::Unavailable(error.to_string())) }.boxed(),
        }
    }

    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>> {
        self.0.reading(move |core| core.read(from, max))
    }

    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        self.0.reading(Core::head)
    }

    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>> {
        self.0.reading(Core::load)
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        match self.0.on_thread(move |core| core.trim(below)) {
            Ok(answer) => answer
                .map(|answer| answer.unwrap_or_else(|| Err(ReadError::Unavailable("the store's thread died".into()))))
                .boxed(),
            Err(error) => async move { Err(error) }.boxed(),
        }
    }

    fn restore(&self, snapshot: Arc<State>) -> BoxFuture<'_, Result<(), RestoreError>> {
        match self.0.on_thread(move |core| core.restore(&snapshot)) {
            Ok(answer) => answer
                .map(|answer| {
                    let died = || Err(RestoreError::Failed("the store's thread died".into()));
                    answer.unwrap_or_else(died)
                })
                .boxed(),
            Err(error) => async move { Err(error.into()) }.boxed(),
        }
    }

    fn cells(&self) -> Option<Arc<dyn Cells>> {
        Some(self.0.clone())
    }
}

impl Cells for Engine {
    fn get(&self, key: CellKey) -> BoxFuture<'_, Outcome> {
        let read = self.reading(move |core| core.cell(&key, now()));
        async move {
            match tokio::time::timeout(CELL_WITHIN, read).await {
                Ok(Ok(value)) => Outcome::Is(value),
                _ => Outcome::Unavailable,
            }
        }
        .boxed()
    }

    fn swap(&self, key: CellKey, expected: Option<CellValue>, new: CellValue) -> BoxFuture<'_, Outcome> {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue(Job::Swap(Box::new(Swap { key, expected, new }), answer));
        async move {
            if queued.is_err() {
                return Outcome::Unavailable;
            }
            match tokio::time::timeout(CELL_WITHIN, answered).await {
                Ok(Ok(outcome)) => outcome,
                _ => Outcome::Unknown,
            }
        }
        .boxed()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}

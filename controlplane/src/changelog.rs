//! The log as the control plane lives by it: one writer that packs what is submitted into revisions, the head as
//! everybody reads it, and the recent past.

pub mod committer;
mod head;
mod history;
mod tail;
mod writer;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use net::problem::Problem;
use shared::change::{Commit, Op, OpId, Revision};
use shared::time::Time;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::store::{Log, ReadError};

pub use committer::{REVISION_BYTES_MAX, size};
pub use head::Head;
pub use history::{COMMITS_KEPT, History};

use committer::{Committer, Stamp};
use writer::{Submission, Writer};

/// What a use case makes of a head. Deciding is pure: it is run again whenever the head turns out to be another one.
#[derive(Clone, Debug)]
pub enum Decision {
    Append(Vec<Op>),
    /// It stands already.
    Nothing,
    Refuse(Box<Problem>),
}

pub type Decide = Arc<dyn Fn(&Head) -> Decision + Send + Sync>;

/// A write that stands.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Of the commit; of the true head when nothing had to be appended.
    pub revision: Revision,
    pub appended: bool,
    /// The head at that revision.
    pub head: Arc<Head>,
    pub op_id: Option<OpId>,
    /// This write's own operations, also when others share its revision.
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug)]
pub enum WriteError {
    Refused(Box<Problem>),
    /// The store did not take it in time; it is not committed.
    Unavailable,
    /// It may be committed, now or later; history finds it by this id once it is.
    OutcomeUnknown {
        op_id: OpId,
    },
    /// Too many writes are waiting; it is not committed.
    Overloaded,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Refused(problem) => f.write_str(&problem.detail),
            WriteError::Unavailable => f.write_str("the store does not take it"),
            WriteError::OutcomeUnknown { op_id } => {
                write!(f, "whether the store took it is not known; its op_id is {op_id}")
            }
            WriteError::Overloaded => f.write_str("too many writes are waiting"),
        }
    }
}

/// The last commits, for those who derive something from them, wherever they are kept.
pub trait Recent {
    /// The commits after `since` if memory reaches back so far.
    fn after(&self, since: Revision, limit: usize) -> Option<Vec<Arc<Commit>>>;

    /// The last one for which `wanted` holds, newest first and at most `depth` of them.
    fn last(&self, depth: usize, wanted: &dyn Fn(&Commit) -> bool) -> Option<Arc<Commit>>;
}

/// Called for every commit, in order, before the write it came from is answered. Must not block.
pub type Observer = Box<dyn Fn(&Arc<Commit>, &Arc<Head>) + Send + Sync>;

/// What an observer starts from; every commit after it is handed to it.
pub struct Observing {
    pub head: Arc<Head>,
    /// The commits up to the head that are in memory, oldest first and without a hole.
    pub recent: Vec<Arc<Commit>>,
}

pub struct Changelog {
    log: Arc<dyn Log>,
    shared: Arc<Shared>,
    submissions: mpsc::Sender<Submission>,
}

/// What the writer publishes and everybody reads.
struct Shared {
    head: ArcSwap<Head>,
    /// Taken for the whole of a commit's publication, so that an observer registers between two commits.
    observers: Mutex<Vec<Observer>>,
    history: Mutex<History>,
    moved: watch::Sender<Revision>,
    /// When a read of the log began that is folded in whole.
    read: watch::Sender<Time>,
    /// Somebody knows that there is something to read.
    look: Notify,
}

impl Changelog {
    /// Loads the fold and the recent past, and starts the writer. The writer ends when the changelog is dropped and
    /// nothing is in flight.
    pub async fn start(log: Arc<dyn Log>) -> Result<(Arc<Changelog>, JoinHandle<()>), ReadError> {
        let head = Arc::new(Head::of(log.load().await?));
        let history = history::warm(&*log, head.state.revision).await?;
        let shared = Arc::new(Shared {
            moved: watch::Sender::new(head.state.revision),
            read: watch::Sender::new(Time::ZERO),
            look: Notify::new(),
            head: ArcSwap::new(head.clone()),
            observers: Mutex::default(),
            history: Mutex::new(history),
        });
        let (submissions, queue) = mpsc::channel(committer::QUEUE_MAX);
        let writer = Writer::new(Committer::new(head, Box::new(stamp)), log.clone(), shared.clone());
        let (hear, heard) = mpsc::channel(tail::HEARD_MAX);
        if let Some(every) = log.tail_every() {
            tokio::spawn(tail::follow(log.clone(), shared.clone(), hear, every));
        }
        let writing = tokio::spawn(writer.run(queue, heard));
        Ok((
            Arc::new(Changelog {
                log,
                shared,
                submissions,
            }),
            writing,
        ))
    }

    pub fn head(&self) -> Arc<Head> {
        self.shared.head.load_full()
    }

    /// The head, and the commits up to it that are in memory, oldest first and without a hole.
    pub fn with_recent(&self) -> (Arc<Head>, Vec<Arc<Commit>>) {
        // No commit is published meanwhile.
        let _observers = self.shared.observers.lock().unwrap_or_else(PoisonError::into_inner);
        (self.head(), self.shared.history().recent())
    }

    /// The head's revision, as it moves.
    pub fn moves(&self) -> watch::Receiver<Revision> {
        self.shared.moved.subscribe()
    }

    /// When the last read of the log began of which everything is in the head, by [`net::clock`].
    pub fn reads(&self) -> watch::Receiver<Time> {
        self.shared.read.subscribe()
    }

    /// Somebody else has appended: looks for it now, and not only when it is time.
    pub fn look(&self) {
        self.shared.look.notify_one();
    }

    /// Registers an observer, atomically with the head that it starts from.
    pub fn observe(&self, observer: Observer) -> Observing {
        let mut observers = self.shared.observers.lock().unwrap_or_else(PoisonError::into_inner);
        observers.push(observer);
        let recent = self.shared.history().recent();
        Observing {
            head: self.head(),
            recent,
        }
    }

    /// Commits what `decide` makes of the head, in one revision, perhaps together with other writes of this actor.
    /// Answers within the committer's bound of 3 s.
    pub async fn submit(&self, actor: Arc<str>, decide: Decide) -> Result<Committed, WriteError> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { actor, decide, answer };
        self.submissions
            .try_send(submission)
            .map_err(|_| WriteError::Overloaded)?;
        // Without an answer the writer is gone: it ends only when nobody could still submit, or by a defect.
        answered.await.unwrap_or(Err(WriteError::Unavailable))
    }

    /// A head that is no older than this call, by the strongest read.
    pub async fn true_head(&self, actor: Arc<str>) -> Result<Arc<Head>, WriteError> {
        Ok(self.submit(actor, Arc::new(|_| Decision::Nothing)).await?.head)
    }

    /// The commits after `since`, oldest first, at most `limit`.
    pub async fn read(&self, since: Revision, limit: usize) -> Result<Vec<Arc<Commit>>, ReadError> {
        if let Some(commits) = self.shared.history().after(since, limit) {
            return Ok(commits);
        }
        Ok(self.log.read(since, limit).await?.into_iter().map(Arc::new).collect())
    }

    pub async fn find(&self, op_id: OpId) -> Result<Option<Arc<Commit>>, ReadError> {
        let (found, oldest) = {
            let history = self.shared.history();
            (history.find(op_id), history.oldest())
        };
        match found {
            Some(commit) => Ok(Some(commit)),
            None => history::search(&*self.log, op_id, oldest).await,
        }
    }
}

impl Recent for Changelog {
    fn after(&self, since: Revision, limit: usize) -> Option<Vec<Arc<Commit>>> {
        self.shared.history().after(since, limit)
    }

    fn last(&self, depth: usize, wanted: &dyn Fn(&Commit) -> bool) -> Option<Arc<Commit>> {
        self.shared.history().last(depth, wanted)
    }
}

impl Shared {
    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, commit: &Arc<Commit>, head: &Arc<Head>) {
        let observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        self.history().push(commit.clone());
        self.head.store(head.clone());
        observers.iter().for_each(|observer| observer(commit, head));
        drop(observers);
        self.moved.send_replace(commit.revision);
    }
}

fn stamp() -> Stamp {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp {
        op_id: OpId(Uuid::new_v4()),
        at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
    }
}

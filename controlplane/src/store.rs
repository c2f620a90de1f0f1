//! The log as a port: what the control plane asks of a store, and the stores there are.

pub mod cassandra;
pub mod cells;
#[cfg(any(test, feature = "test-support"))]
pub mod conformance;
pub mod core;
pub mod redb;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::change::{Commit, Revision};
use shared::state::State;
use shared::stream::planes::Row;

pub use cells::Cells;

/// A log of commits with a compare-and-append, and the fold of it.
///
/// Answers may take as long as the medium does: whoever calls bounds its waiting. Dropping a future cancels nothing.
pub trait Log: Send + Sync {
    /// Appends `commit` if the head is `after`; `commit.revision` is `after + 1`. Answers once it is durable.
    ///
    /// Repeating a call with the same `after` and `op_id` is how an unknown outcome is settled: it answers `Ok` when that
    /// very commit holds the revision already, and appends it when nothing does.
    fn append(&self, after: Revision, commit: Arc<Commit>) -> BoxFuture<'_, Result<(), AppendError>>;

    /// The commits after `from`, in order and without a hole, at most `max`; fewer only at the head. Sees every append
    /// that was acknowledged before the call, by whomever.
    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>>;

    /// The last revision, by the strongest read there is: never older than an append acknowledged before the call.
    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>>;

    /// The fold of the whole log at one revision.
    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>>;

    /// Lets go of the commits up to and including `below`, never of the head. What was trimmed can no longer be read;
    /// the fold keeps it. Idempotent.
    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Makes an empty log one that stands at `snapshot`: with its objects and its revision, without its history, and under
    /// the log's own epoch. As a whole: where that broke off, the log is empty or can be opened no more.
    fn restore(&self, _snapshot: Arc<State>) -> BoxFuture<'_, Result<(), RestoreError>> {
        async { Err(RestoreError::Failed("this store takes no snapshot".into())) }.boxed()
    }

    /// How often to look for what others appended; none where nobody else can.
    fn tail_every(&self) -> Option<Duration> {
        None
    }

    /// The cells of rate limits. None where a log is kept without them.
    fn cells(&self) -> Option<Arc<dyn Cells>> {
        None
    }

    /// The rows of the control planes, where there can be several.
    fn rows(&self) -> Option<Arc<dyn Rows>> {
        None
    }
}

/// What the control planes of a shared store say of themselves, and how they learn of each other.
pub trait Rows: Send + Sync {
    /// Writes one. Answers once every later read sees it.
    fn refresh(&self, row: Row, head: Revision) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Those that were refreshed not long ago.
    fn all(&self) -> BoxFuture<'_, Result<Vec<Row>, ReadError>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Proven: another commit holds the revision, or the head is not `after`. Nothing was appended.
    Conflict,
    /// It may have been appended, or may still be: repeat it with the same `op_id` at the same revision.
    Unknown(String),
    /// It was not tried.
    Unavailable(String),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Conflict => f.write_str("another commit holds the revision"),
            AppendError::Unknown(detail) => write!(f, "it is not known whether the append took place: {detail}"),
            AppendError::Unavailable(detail) => write!(f, "the store is not available: {detail}"),
        }
    }
}

impl std::error::Error for AppendError {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The commits after `from` start beyond `from + 1`: these are gone up to `trimmed`.
    Trimmed {
        trimmed: Revision,
    },
    Unavailable(String),
    /// What is stored contradicts itself; nothing of it may be served.
    Corrupt(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Trimmed { trimmed } => write!(f, "history up to revision {trimmed} has been trimmed"),
            ReadError::Unavailable(detail) => write!(f, "the store is not available: {detail}"),
            ReadError::Corrupt(detail) => write!(f, "the store is corrupt: {detail}"),
        }
    }
}

impl std::error::Error for ReadError {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// There is something in it, or somebody uses it. Nothing was changed.
    InUse(String),
    Failed(String),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::InUse(detail) => write!(f, "only an empty store is restored into: {detail}"),
            RestoreError::Failed(detail) => write!(f, "the store was not restored: {detail}"),
        }
    }
}

impl std::error::Error for RestoreError {}

impl RestoreError {
    /// `head`: of a log that would have to be empty.
    pub(crate) fn not_empty(head: Revision) -> RestoreError {
        RestoreError::InUse(format!("this one is at revision {head}"))
    }
}

impl From<ReadError> for RestoreError {
    fn from(error: ReadError) -> RestoreError {
        RestoreError::Failed(error.to_string())
    }
}

/// Where the log is kept: `redb:PATH` or `cassandra://h1[:9042],h2/keyspace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    Redb(PathBuf),
    Cassandra(cassandra::Place),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<StoreUrl, String> {
        match text.split_once(':') {
            Some(("redb", path)) if !path.is_empty() => Ok(StoreUrl::Redb(path.into())),
            Some(("cassandra", rest)) if rest.starts_with("//") => rest[2..].parse().map(StoreUrl::Cassandra),
            _ => Err(format!(
                "{text:?} is no store: expected redb:PATH or cassandra://HOST[:PORT],…/KEYSPACE"
            )),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Redb(path) => write!(f, "redb:{}", path.display()),
            StoreUrl::Cassandra(place) => place.fmt(f),
        }
    }
}

/// A process that was killed may hold its file a moment longer than it answers.
const LOCKED_MAX: Duration = Duration::from_secs(5);
const LOCKED_AGAIN: Duration = Duration::from_millis(50);

/// Opens the store, or creates it where there is none. Waits for one that cannot be reached, and a while for one that another
/// process has open: a successor may be started before its predecessor is gone.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn Log>, OpenError> {
    let path = match url {
        StoreUrl::Redb(path) => path,
        StoreUrl::Cassandra(place) => return Ok(Arc::new(cassandra::CassandraLog::open(place).await?)),
    };
    let until = Instant::now() + LOCKED_MAX;
    loop {
        let path = path.clone();
        let opened = tokio::task::spawn_blocking(move || redb::RedbLog::open(&path)).await;
        match opened.map_err(|error| OpenError::Refused(error.to_string()))? {
            Ok(log) => return Ok(Arc::new(log)),
            Err(OpenError::Locked { .. }) if Instant::now() < until => tokio::time::sleep(LOCKED_AGAIN).await,
            Err(error) => return Err(error),
        }
    }
}

/// Why a store cannot be used. Each needs something else of the operator, so each says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    Io {
        path: PathBuf,
        detail: String,
    },
    /// Another process has it open.
    Locked {
        path: PathBuf,
    },
    /// Something else is in its place.
    NotAStore {
        path: PathBuf,
    },
    /// Written by another version.
    Format {
        path: PathBuf,
        format: u32,
    },
    /// Torn or altered: to be restored from a backup.
    Corrupt {
        path: PathBuf,
        detail: String,
    },
    /// It can be reached, and not be used as it is, or as it was asked for.
    Refused(String),
}

impl OpenError {
    fn at(mut self, at: &Path) -> OpenError {
        use OpenError::{Corrupt, Format, Io, Locked, NotAStore};
        if let Io { path, .. } | Locked { path } | NotAStore { path } | Format { path, .. } | Corrupt { path, .. } =
            &mut self
        {
            *path = at.to_owned();
        }
        self
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { path, detail } => write!(f, "the store {} cannot be opened: {detail}", path.display()),
            OpenError::Locked { path } => {
                write!(f, "the store {} is in use by another process", path.display())
            }
            OpenError::NotAStore { path } => {
                write!(
                    f,
                    "{} is no store: it holds something else, and is left as it is",
                    path.display()
                )
            }
            OpenError::Format { path, format } => {
                write!(
                    f,
                    "the store {} has format {format}, which this version cannot read",
                    path.display()
                )
            }
            OpenError::Corrupt { path, detail } => write!(
                f,
                "the store {} is torn or corrupt ({detail}); restore it from a backup",
                path.display()
            ),
            OpenError::Refused(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests;

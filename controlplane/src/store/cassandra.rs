//! The production engine: the log on Apache Cassandra.
//!
//! ```text
//! changes (partitions)  the log itself: conditional appends, one partition per thousand revisions
//! services, upstreams…  what stands, for people and for starts; they follow the log (follower, objects, scan)
//! limit_claims, _ledger who counts for limits, and what was counted (cells)
//! meta                  epoch and home, written once; how far the tables are, what was trimmed
//! ```
//!
//! Several control planes share it. What decides is the log's head, moved by one conditional statement; everything else
//! may lag and be done twice.

mod cells;
mod client;
mod coordinators;
mod failure;
mod follower;
mod meta;
mod migrate;
mod nodes;
mod numbers;
mod objects;
mod partitions;
mod place;
mod restoring;
mod rows;
mod scan;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::change::{Commit, Revision};
use shared::state::State;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{AppendError, Cells, Log, OpenError, ReadError, RestoreError, Rows};
use cells::CassandraCells;
use client::{Client, Obstacle};
use meta::Meta;
use numbers::{bucket, is_first, last_of};
use objects::Objects;
use partitions::Partitions;
use rows::CassandraRows;

pub use place::{Options, Place};

/// Commits fetched by one statement: of the largest size that still can be in its time.
const PAGE: usize = 100;

/// Between two looks for what other control planes appended.
const TAIL_EVERY: Duration = Duration::from_millis(250);

/// Between two looks whether the tables have stayed behind.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Between two attempts to get at a store that cannot be reached.
const RETRY: Duration = Duration::from_secs(1);

/// Starts of `load` anew, after history that it needs was trimmed meanwhile.
const LOADS_MAX: usize = 3;

pub struct CassandraLog {
    inner: Arc<Inner>,
    following: JoinHandle<()>,
}

struct Inner {
    client: Arc<Client>,
    partitions: Partitions,
    objects: Objects,
    meta: Meta,
    rows: Arc<CassandraRows>,
    cells: Arc<CassandraCells>,
    /// The greatest revision that was seen in the log.
    seen: AtomicU64,
    following: Mutex<()>,
    appended: Notify,
}

impl CassandraLog {
    /// Waits until Cassandra can be reached, and says what for; creates and migrates the keyspace where that is needed.
    pub async fn open(place: &Place) -> Result<CassandraLog, OpenError> {
        let mut said = String::new();
        let opener = Uuid::new_v4();
        loop {
            match Inner::open(place, opener).await {
                Ok(inner) => return Ok(CassandraLog::of(inner)),
                Err(Obstacle::Refused(detail)) => return Err(OpenError::Refused(format!("{place}: {detail}"))),
                Err(Obstacle::Away(detail)) => {
                    if said != detail {
                        tracing::warn!(store = %place, "waiting for Cassandra: {detail}");
                        said = detail;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn of(inner: Inner) -> CassandraLog {
        let inner = Arc::new(inner);
        let following = tokio::spawn(keep_up(Arc::downgrade(&inner)));
        CassandraLog { inner, following }
    }
}

/// After every append, and now and then for what others left behind.
async fn keep_up(store: Weak<Inner>) {
    let mut failed = false;
    while let Some(store) = store.upgrade() {
        let outcome = follower::follow(&store).await;
        match &outcome {
            Err(error) if !failed => tracing::warn!(%error, "the tables stay behind the log for now"),
            Ok(_) if failed => tracing::info!("the tables follow the log again"),
            _ => {}
        }
        failed = outcome.is_err();
        match failed {
            true => tokio::time::sleep(FOLLOW_EVERY).await,
            // Either will do.
            false => drop(tokio::time::timeout(FOLLOW_EVERY, store.appended.notified()).await),
        }
    }
}

/// Brings a keyspace to other migrations than this version's.
#[cfg(any(test, feature = "test-support"))]
pub async fn migrate_to(place: &Place, migrations: &[migrations::Migration]) -> Result<(), OpenError> {
    let outcome = match Client::connect(place).await {
        Ok(client) => migrate::migrate(&client, place, migrations, Uuid::new_v4()).await,
        Err(error) => Err(error),
    };
    outcome.map_err(|(Obstacle::Refused(detail) | Obstacle::Away(detail))| OpenError::Refused(detail))
}

impl Inner {
    async fn open(place: &Place, opener: Uuid) -> Result<Inner, Obstacle> {
        let client = Arc::new(Client::connect(place).await?);
        migrate::migrate(&client, place, &migrations::ALL, opener).await?;
        let meta = Meta::open(&client, place.options.dc.as_deref()).await?;
        let partitions = Partitions::prepare(client.clone()).await?;
        let objects = Objects::prepare(&client).await?;
        let rows = Arc::new(CassandraRows::prepare(client.clone()).await?);
        let cells = Arc::new(CassandraCells::prepare(client.clone()).await?);
        let applied = meta.applied(&client).await;
        let applied = applied.map_err(|error| Obstacle::Away(error.to_string()))?;
        tokio::spawn(nodes::check(client.clone()));
        Ok(Inner {
            client,
            partitions,
            objects,
            meta,
            rows,
            cells,
            seen: AtomicU64::new(applied.revision.0),
            following: Mutex::default(),
            appended: Notify::new(),
        })
    }

    fn seen(&self) -> Revision {
        Revision(self.seen.load(SeqCst))
    }

    fn saw(&self, revision: Revision) {
        self.seen.fetch_max(revision.0, SeqCst);
    }

    async fn append(&self, after: Revision, commit: &Commit) -> Result<(), AppendError> {
        if commit.revision != after.next() {
            let detail = format!("revision {} does not follow {after}", commit.revision);
            return Err(AppendError::Unavailable(detail));
        }
        if is_first(commit.revision) && after > Revision::ZERO && !self.is_full(after).await? {
            return Err(AppendError::Conflict);
        }
        self.partitions.append(commit).await?;
        self.saw(commit.revision);
        self.appended.notify_one();
        Ok(())
    }

    /// Whether `last` fills its partition. Only then may the next one begin: so nothing can be added to it any more.
    async fn is_full(&self, last: Revision) -> Result<bool, AppendError> {
        if self.seen() >= last {
            return Ok(true);
        }
        let head = self.partitions.head(bucket(last)).await;
        let head = head.map_err(|error| AppendError::Unavailable(error.to_string()))?;
        Ok(head == Some(last))
    }

    async fn read(&self, from: Revision, max: usize) -> Result<Vec<Commit>, ReadError> {
        let mut commits: Vec<Commit> = Vec::new();
        while commits.len() < max {
            let last = commits.last().map_or(from, |commit| commit.revision);
            let page = self.page(last.next(), PAGE.min(max - commits.len())).await?;
            let Some(end) = page.last().map(|commit| commit.revision) else {
                break;
            };
            let full = page.len() == PAGE || end == last_of(bucket(end));
            commits.extend(page);
            if !full {
                break;
            }
        }
        if let Some(last) = commits.last() {
            self.saw(last.revision);
        }
        Ok(commits)
    }

    /// A page that begins with `first`, without a hole; empty when that is beyond the head.
    async fn page(&self, first: Revision, max: usize) -> Result<Vec<Commit>, ReadError> {
        let has_hole = |page: &[Commit]| {
            let expected = (first.0..)
                .zip(page)
                .all(|(revision, commit)| commit.revision.0 == revision);
            !expected || (page.is_empty() && first <= self.seen())
        };
        let page = self.partitions.page(first, max, false).await?;
        if !has_hole(&page) {
            return Ok(page);
        }
        // What a quorum does not know yet, a serial read brings about.
        let page = self.partitions.page(first, max, true).await?;
        if !has_hole(&page) {
            return Ok(page);
        }
        let trimmed = self.meta.mark(&self.client, "trimmed").await?;
        match first <= trimmed {
            true => Err(ReadError::Trimmed { trimmed }),
            false => Err(ReadError::Corrupt(format!(
                "revision {first} or one soon after it is missing"
            ))),
        }
    }

    async fn head(&self) -> Result<Revision, ReadError> {
        let mut at = bucket(self.seen());
        let mut found = self.partitions.head(at).await?;
        // Only where the log was put back to an earlier state.
        while found.is_none() && at > 0 {
            at -= 1;
            found = self.partitions.head(at).await?;
        }
        while found == Some(last_of(at)) {
            at += 1;
            match self.partitions.head(at).await? {
                Some(head) => found = Some(head),
                None => break,
            }
        }
        let head = found.unwrap_or(Revision::ZERO);
        self.saw(head);
        Ok(head)
    }

    /// What the tables hold is no older than `applied`, and what they hold beyond it is in the log up to a head that is
    /// read afterwards; folding that in makes it true.
    async fn load_once(&self) -> Result<State, ReadError> {
        let applied = self.meta.applied(&self.client).await?;
        let mut state = State::empty(applied.epoch);
        scan::into(&mut state, &self.client).await?;
        state.revision = applied.revision;
        state.configured = applied.configured;
        let head = self.head().await?;
        while state.revision < head {
            let commits = self.read(state.revision, PAGE).await?;
            if commits.is_empty() {
                return Err(ReadError::Corrupt(format!(
                    "the log ends at revision {}, and its head says {head}",
                    state.revision
                )));
            }
            for commit in &commits {
                let gap = |error: shared::state::Gap| ReadError::Corrupt(error.to_string());
                state.apply(commit).map_err(gap)?;
            }
        }
        Ok(state)
    }

    async fn load(&self) -> Result<State, ReadError> {
        let mut outcome = self.load_once().await;
        for _ in 1..LOADS_MAX {
            match outcome {
                Err(ReadError::Trimmed { .. }) => outcome = self.load_once().await,
                _ => break,
            }
        }
        outcome
    }

    async fn trim(&self, below: Revision) -> Result<(), ReadError> {
        let applied = follower::follow(self).await?.revision;
        // Never the head.
        let below = below.min(Revision(applied.0.saturating_sub(1)));
        if below == Revision::ZERO {
            return Ok(());
        }
        if below > self.meta.mark(&self.client, "trimmed").await? {
            // Before anything is gone: a reader must find a hole explained.
            self.meta.set_mark(&self.client, "trimmed", below).await?;
        }
        let swept = self.meta.mark(&self.client, "swept").await?;
        for bucket in bucket(swept)..=bucket(below) {
            self.partitions.drop_before(bucket, below.next()).await?;
        }
        self.meta.set_mark(&self.client, "swept", below).await
    }
}

impl Log for CassandraLog {
    fn append(&self, after: Revision, commit: Arc<Commit>) -> BoxFuture<'_, Result<(), AppendError>> {
        async move { self.inner.append(after, &commit).await }.boxed()
    }

    fn read(&self, from: Revision, max: usize) -> BoxFuture<'_, Result<Vec<Commit>, ReadError>> {
        self.inner.read(from, max).boxed()
    }

    fn head(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        self.inner.head().boxed()
    }

    fn load(&self) -> BoxFuture<'_, Result<State, ReadError>> {
        self.inner.load().boxed()
    }

    fn trim(&self, below: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.inner.trim(below).boxed()
    }

    fn restore(&self, snapshot: Arc<State>) -> BoxFuture<'_, Result<(), RestoreError>> {
        async move { restoring::restore(&self.inner, &snapshot).await }.boxed()
    }

    fn tail_every(&self) -> Option<Duration> {
        Some(TAIL_EVERY)
    }

    fn cells(&self) -> Option<Arc<dyn Cells>> {
        Some(self.inner.cells.clone())
    }

    fn rows(&self) -> Option<Arc<dyn Rows>> {
        Some(self.inner.rows.clone())
    }
}

impl Drop for CassandraLog {
    fn drop(&mut self) {
        self.following.abort();
    }
}

//! The recent past in memory, and the rest of it in the store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use shared::change::{Commit, OpId, Revision};

use super::Recent;
use crate::store::{Log, ReadError};

/// How much of the past is kept: as much as a proxy may be behind and still need no snapshot.
pub const COMMITS_KEPT: u64 = 100_000;

const BYTES_KEPT: usize = 64 << 20;

/// Commits read from the store at once.
const PAGE: usize = 1_000;

/// The last commits without a hole, newest at the back.
#[derive(Default)]
pub struct History {
    commits: VecDeque<Arc<Commit>>,
    by_op_id: HashMap<OpId, Revision>,
    bytes: usize,
    /// The revision before the oldest commit held.
    floor: Revision,
}

impl History {
    /// Of a log whose commits up to `floor` are not in memory.
    pub fn after_floor(floor: Revision) -> History {
        History {
            floor,
            ..History::default()
        }
    }

    pub fn push(&mut self, commit: Arc<Commit>) {
        self.bytes += size(&commit);
        self.by_op_id.insert(commit.op_id, commit.revision);
        self.commits.push_back(commit);
        while self.commits.len() as u64 > COMMITS_KEPT || self.bytes > BYTES_KEPT {
            let Some(oldest) = self.commits.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.by_op_id.remove(&oldest.op_id);
            self.floor = oldest.revision;
        }
    }

    pub fn recent(&self) -> Vec<Arc<Commit>> {
        self.commits.iter().cloned().collect()
    }

    pub fn find(&self, op_id: OpId) -> Option<Arc<Commit>> {
        let revision = self.by_op_id.get(&op_id)?;
        let index = revision.0.checked_sub(self.floor.0 + 1)?;
        self.commits.get(usize::try_from(index).ok()?).cloned()
    }

    /// The revision before the oldest commit in memory.
    pub fn oldest(&self) -> Revision {
        self.floor
    }
}

impl Recent for History {
    fn after(&self, since: Revision, limit: usize) -> Option<Vec<Arc<Commit>>> {
        let skip = usize::try_from(since.0.checked_sub(self.floor.0)?).ok()?;
        Some(self.commits.iter().skip(skip).take(limit).cloned().collect())
    }

    fn last(&self, depth: usize, wanted: &dyn Fn(&Commit) -> bool) -> Option<Arc<Commit>> {
        self.commits
            .iter()
            .rev()
            .take(depth)
            .find(|commit| wanted(commit))
            .cloned()
    }
}

/// Roughly what a commit takes in memory.
fn size(commit: &Commit) -> usize {
    let body = |body: Option<&shared::change::Body>| body.map_or(0, |body| body.as_str().len());
    let ops = commit.ops.iter().map(|op| {
        size_of_val(op) + op.key.len() + body(op.body.as_ref()) + body(op.before.as_ref().map(|before| &before.body))
    });
    size_of::<Commit>() + ops.sum::<usize>()
}

/// What the log still has up to `head`. Others may have appended meanwhile: that will be heard of like all that follows.
pub async fn warm(log: &dyn Log, head: Revision) -> Result<History, ReadError> {
    let mut from = Revision(head.0.saturating_sub(COMMITS_KEPT));
    let mut history = History::after_floor(from);
    while from < head {
        match log.read(from, PAGE).await {
            Ok(commits) if commits.is_empty() => break,
            Ok(commits) => {
                for commit in commits {
                    from = commit.revision;
                    if from <= head {
                        history.push(Arc::new(commit));
                    }
                }
            }
            Err(ReadError::Trimmed { trimmed }) if trimmed > from => {
                from = trimmed;
                history = History::after_floor(from);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(history)
}

/// Looks through what the store still has up to `until`.
pub async fn search(log: &dyn Log, op_id: OpId, until: Revision) -> Result<Option<Arc<Commit>>, ReadError> {
    let mut from = Revision::ZERO;
    while from < until {
        match log.read(from, PAGE).await {
            Ok(commits) => {
                let Some(last) = commits.last() else { break };
                from = last.revision;
                if let Some(found) = commits.into_iter().find(|commit| commit.op_id == op_id) {
                    return Ok(Some(Arc::new(found)));
                }
            }
            Err(ReadError::Trimmed { trimmed }) if trimmed > from => from = trimmed,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shared::change::{Body, Kind, Op, Verb};
    use uuid::Uuid;

    use super::*;
    use crate::store::redb::RedbLog;

    fn commit(revision: u64, bytes: usize) -> Arc<Commit> {
        let op = Op {
            verb: Verb::Put,
            kind: Kind::Member,
            key: revision.to_string().into(),
            body: Some(Body::of(&"x".repeat(bytes)).unwrap()),
            registration: None,
            before: None,
        };
        Arc::new(Commit {
            revision: Revision(revision),
            at_ms: 0,
            actor: "test".into(),
            op_id: OpId(Uuid::from_u128(revision.into())),
            ops: vec![op],
        })
    }

    fn revisions(commits: &[Arc<Commit>]) -> Vec<u64> {
        commits.iter().map(|commit| commit.revision.0).collect()
    }

    #[test]
    fn what_is_too_much_is_let_go_of_from_the_front() {
        let mut history = History::after_floor(Revision(10));
        (11..=15).for_each(|revision| history.push(commit(revision, BYTES_KEPT / 4)));
        assert_eq!(history.oldest(), Revision(12));
        assert_eq!(revisions(&history.recent()), [13, 14, 15]);
        assert!(history.after(Revision(11), 10).is_none(), "a hole is no history");
        assert_eq!(revisions(&history.after(Revision(12), 2).unwrap()), [13, 14]);
        assert_eq!(revisions(&history.after(Revision(15), 10).unwrap()), [0_u64; 0]);
        assert!(history.find(OpId(Uuid::from_u128(12))).is_none());
        assert_eq!(history.find(OpId(Uuid::from_u128(14))).unwrap().revision, Revision(14));
        assert_eq!(history.last(2, &|commit| commit.revision < Revision(14)), None);
        assert_eq!(
            history
                .last(3, &|commit| commit.revision < Revision(14))
                .unwrap()
                .revision,
            Revision(13)
        );
    }

    #[tokio::test]
    async fn a_trimmed_log_is_remembered_from_where_it_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path: &Path = &directory.path().join("log.redb");
        let log = RedbLog::open(path).unwrap();
        for revision in 1..=9 {
            log.append(Revision(revision - 1), commit(revision, 1)).await.unwrap();
        }
        log.trim(Revision(4)).await.unwrap();
        let history = warm(&log, Revision(9)).await.unwrap();
        assert_eq!((history.oldest(), history.recent().len()), (Revision(4), 5));
        let earlier = warm(&log, Revision(7)).await.unwrap();
        assert_eq!(revisions(&earlier.recent()), [5, 6, 7], "nothing beyond the head");
        let found = async |revision: u128| {
            search(&log, OpId(Uuid::from_u128(revision)), Revision(7))
                .await
                .unwrap()
        };
        assert_eq!(found(3).await, None);
        assert_eq!(found(6).await.unwrap().revision, Revision(6));
    }
}

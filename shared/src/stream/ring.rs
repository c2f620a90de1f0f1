//! The last changes of the configuration, each encoded once, from which every connection is served.
//!
//! A connection is a cursor into it. Connections in lockstep ask for the same lines, and are handed the same buffer.
//! Beside the lines it remembers the digest after each revision: a proxy whose digest is another one at a revision that
//! is known here followed another history.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::change::{Commit, Kind, Op, Revision, Verb};
use crate::digest::Digest;
use crate::state::State;
use crate::stream::message::{Change, Down};

/// Changes kept.
pub const CHANGES_MAX: usize = 100_000;
/// Bytes of lines kept.
pub const BYTES_MAX: usize = 64 << 20;
/// Bytes handed out at once, unless a single line is longer.
pub const CHUNK_MAX: usize = 64 << 10;
/// Concatenations remembered for the next connection that asks.
const MEMO_MAX: usize = 8;

/// A configuration revision, and the digest of the configuration after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub revision: Revision,
    pub digest: Digest,
}

#[derive(Debug)]
struct Entry {
    after: Point,
    line: Bytes,
}

/// How far a connection has been served: the number of changes since the ring's beginning of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

impl Cursor {
    /// How many changes lie between.
    pub fn distance(self, later: Cursor) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

/// Where a proxy's history meets this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// It may go on from here.
    At(Cursor),
    /// Too long ago to go on without a snapshot.
    Before,
    /// It knows revisions that this log does not have.
    Ahead,
    /// At that revision this log holds, or held, something else.
    Diverged,
}

/// The cursor fell out of the ring: the connection is too slow to be served from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whole lines.
    pub bytes: Bytes,
    pub cursor: Cursor,
}

#[derive(Debug)]
struct Memo {
    from: Cursor,
    chunk: Chunk,
}

#[derive(Debug)]
pub struct Ring {
    /// Revisions older than the lines whose digest is still known, oldest first. Never empty: its last is what the
    /// first line follows.
    older: VecDeque<Point>,
    entries: VecDeque<Entry>,
    /// The cursor before the first line.
    first: Cursor,
    bytes: usize,
    bytes_max: usize,
    memo: VecDeque<Memo>,
    /// Whether `older` reaches back to the empty log.
    whole: bool,
}

impl Ring {
    /// `tail`: the commits that led to `state`, oldest first, as many as are at hand.
    pub fn new<'a, I>(state: &State, tail: I) -> Ring
    where
        I: IntoIterator<Item = &'a Commit>,
        I::IntoIter: DoubleEndedIterator,
    {
        let mut point = Point {
            revision: state.configured,
            digest: state.digest,
        };
        let mut newest_first: Vec<(Point, &Commit)> = Vec::new();
        let mut oldest = None;
        for commit in tail
            .into_iter()
            .rev()
            .take_while(|commit| commit.revision <= state.revision)
        {
            oldest = Some(commit.revision);
            if commit.is_configuration() {
                newest_first.push((
                    Point {
                        revision: commit.revision,
                        ..point
                    },
                    commit,
                ));
                point.digest = undone(point.digest, commit);
            }
        }
        // Of the oldest change at hand it is unknown which revision it follows, unless the log began with it.
        let whole = state.revision == Revision::ZERO || oldest == Some(Revision(1));
        let base = match newest_first.pop() {
            None => point,
            Some(oldest) if whole => {
                newest_first.push(oldest);
                Point {
                    revision: Revision::ZERO,
                    digest: Digest::default(),
                }
            }
            Some((after, _)) => after,
        };
        let mut ring = Ring {
            older: VecDeque::from([base]),
            entries: VecDeque::new(),
            first: Cursor(0),
            bytes: 0,
            bytes_max: BYTES_MAX,
            memo: VecDeque::new(),
            whole,
        };
        newest_first
            .into_iter()
            .rev()
            .for_each(|(after, commit)| ring.append(commit, after));
        ring
    }

    /// Takes in a commit that changed configuration; `state` is what stands after it.
    pub fn push(&mut self, commit: &Commit, state: &State) {
        self.append(
            commit,
            Point {
                revision: commit.revision,
                digest: state.digest,
            },
        );
    }

    fn append(&mut self, commit: &Commit, after: Point) {
        let line = encode(commit, self.head().revision);
        self.bytes += line.len();
        self.entries.push_back(Entry { after, line });
        while self.entries.len() > CHANGES_MAX || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.line.len();
            self.first = Cursor(self.first.0 + 1);
            self.older.push_back(oldest.after);
        }
        while self.older.len() > 1 && self.older.len() + self.entries.len() > CHANGES_MAX {
            self.older.pop_front();
            self.whole = false;
        }
    }

    /// The last configuration revision.
    pub fn head(&self) -> Point {
        self.entries.back().map_or_else(|| self.base(), |entry| entry.after)
    }

    pub fn end(&self) -> Cursor {
        Cursor(self.first.0 + self.entries.len() as u64)
    }

    fn base(&self) -> Point {
        self.older.back().copied().unwrap_or(Point {
            revision: Revision::ZERO,
            digest: Digest::default(),
        })
    }

    /// What was applied by who has read up to the cursor.
    pub fn at(&self, cursor: Cursor) -> Option<Point> {
        match cursor.0.checked_sub(self.first.0)? {
            0 => Some(self.base()),
            n => self.entries.get(n as usize - 1).map(|entry| entry.after),
        }
    }

    /// The last configuration revision at or before a revision of the log, or the oldest one known.
    pub fn configured_at(&self, revision: Revision) -> Revision {
        match self.entries.partition_point(|entry| entry.after.revision <= revision) {
            0 => self.base().revision,
            n => self.entries[n - 1].after.revision,
        }
    }

    /// The last revision of the log, up to its `head`, at which the configuration stood as at `applied`: what follows
    /// until then changes the roster only. It never goes back while `applied` does not and it is known.
    pub fn unchanged_until(&self, applied: Revision, head: Revision) -> Revision {
        let older = self.older.partition_point(|point| point.revision <= applied);
        if older == 0 && !self.whole {
            return applied;
        }
        let served = self.entries.partition_point(|entry| entry.after.revision <= applied);
        let served = self.entries.get(served).map(|entry| &entry.after);
        match self.older.get(older).or(served) {
            Some(next) => Revision(next.revision.0.saturating_sub(1)),
            None => applied.max(head),
        }
    }

    /// Where someone with `digest` at `since` may go on.
    pub fn meet(&self, since: Revision, digest: Digest) -> Meeting {
        if since > self.head().revision {
            return Meeting::Ahead;
        }
        let known = |index: usize, point: Point| (point.revision == since).then_some((index, point));
        let served = self.entries.partition_point(|entry| entry.after.revision < since);
        let found = self
            .entries
            .get(served)
            .and_then(|entry| known(served + 1, entry.after));
        match found.or_else(|| known(0, self.base())) {
            Some((n, point)) if point.digest == digest => Meeting::At(Cursor(self.first.0 + n as u64)),
            Some(_) => Meeting::Diverged,
            None if since > self.base().revision => Meeting::Diverged,
            None => self.meet_older(since, digest),
        }
    }

    fn meet_older(&self, since: Revision, digest: Digest) -> Meeting {
        let at = self.older.partition_point(|point| point.revision < since);
        let same = self
            .older
            .get(at)
            .is_some_and(|point| point.revision == since && point.digest == digest);
        match same || (at == 0 && !self.whole) || (since == Revision::ZERO && digest == Digest::default()) {
            true => Meeting::Before,
            false => Meeting::Diverged,
        }
    }

    /// The lines that follow a cursor; none at the end.
    pub fn chunk(&mut self, from: Cursor) -> Result<Option<Chunk>, Overrun> {
        let skipped = from.0.checked_sub(self.first.0).ok_or(Overrun)? as usize;
        let Some(line) = self.entries.get(skipped).map(|entry| &entry.line) else {
            return Ok(None);
        };
        if skipped + 1 == self.entries.len() || line.len() >= CHUNK_MAX {
            return Ok(Some(Chunk {
                bytes: line.clone(),
                cursor: Cursor(from.0 + 1),
            }));
        }
        let fresh = |memo: &&Memo| memo.from == from && (memo.chunk.cursor == self.end() || is_full(&memo.chunk));
        if let Some(memo) = self.memo.iter().find(fresh) {
            return Ok(Some(memo.chunk.clone()));
        }
        let chunk = self.concatenate(from, skipped);
        self.memo.retain(|memo| memo.from != from);
        if self.memo.len() == MEMO_MAX {
            self.memo.pop_front();
        }
        self.memo.push_back(Memo {
            from,
            chunk: chunk.clone(),
        });
        Ok(Some(chunk))
    }

    fn concatenate(&self, from: Cursor, skipped: usize) -> Chunk {
        let mut cursor = from;
        let mut size = 0;
        for entry in self.entries.range(skipped..) {
            if size > 0 && size + entry.line.len() > CHUNK_MAX {
                break;
            }
            size += entry.line.len();
            cursor.0 += 1;
        }
        let mut bytes = BytesMut::with_capacity(size);
        let end = skipped + (cursor.0 - from.0) as usize;
        self.entries
            .range(skipped..end)
            .for_each(|entry| bytes.extend_from_slice(&entry.line));
        Chunk {
            bytes: bytes.freeze(),
            cursor,
        }
    }
}

/// So full that it would not be cut elsewhere if more had come since.
fn is_full(chunk: &Chunk) -> bool {
    chunk.bytes.len() > CHUNK_MAX / 2
}

/// What proxies are told of a commit: its configuration, without what it replaced.
fn encode(commit: &Commit, from: Revision) -> Bytes {
    let told = commit.ops.iter().filter(|op| op.kind.is_configuration());
    let ops = told
        .map(|op| Op {
            before: None,
            ..op.clone()
        })
        .collect();
    line(&Down::Change(Change {
        from,
        to: commit.revision,
        ops,
    }))
}

/// One message as a line. Bodies are JSON by construction, so it cannot fail; an empty line would end the stream.
pub(super) fn line(message: &Down) -> Bytes {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The digest before a commit, from the one after it: every operation carries what it replaced.
fn undone(mut digest: Digest, commit: &Commit) -> Digest {
    for op in commit.ops.iter().filter(|op| op.kind.is_configuration()) {
        if let (Verb::Put, Some(body)) = (op.verb, &op.body) {
            let registration = (op.kind == Kind::Upstream).then(|| op.registered(commit.revision));
            digest.remove(Digest::of_object(
                &op.kind,
                &op.key,
                commit.revision,
                registration,
                body,
            ));
        }
        if let Some(before) = &op.before {
            let old = Digest::of_object(&op.kind, &op.key, before.revision, before.registration, &before.body);
            digest.add(old);
        }
    }
    digest
}

#[cfg(test)]
mod tests;

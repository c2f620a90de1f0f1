//! One revision while it is being packed.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use net::problem::{self, Problem};
use shared::change::{Commit, ObjectKey, Op, Revision};

use super::{Attempt, Pending, Stamp};
use crate::changelog::{Decision, Head};

/// How much of the queue goes into one revision.
const PACK_BYTES_MAX: usize = 256 << 10;

/// A single write may be larger than a pack, but no larger than this.
pub const REVISION_BYTES_MAX: usize = 1 << 20;

pub struct Draft {
    revision: Revision,
    /// As if what is packed so far stood already: what comes next may build on it.
    head: Head,
    actor: Arc<str>,
    packed: Vec<(Pending, Vec<Op>)>,
    /// Objects have one operation in a revision.
    touched: HashSet<ObjectKey>,
    bytes: usize,
    /// Something did not fit: what follows it in the queue does not overtake it.
    full: bool,
}

pub enum Joined {
    Joined,
    Not(Pending),
}

/// The decision at `head`; an append that cannot be made is no append.
pub fn decide(write: &Pending, head: &Head) -> Decision {
    match (write.decide)(head) {
        Decision::Append(ops) if ops.is_empty() => Decision::Nothing,
        Decision::Append(ops) => match size(&ops) {
            ..=REVISION_BYTES_MAX => Decision::Append(ops),
            bytes => {
                let detail = format!("one revision holds {REVISION_BYTES_MAX} bytes at most, and this takes {bytes}");
                Decision::Refuse(Box::new(Problem::new(problem::TOO_LARGE, detail)))
            }
        },
        other => other,
    }
}

impl Draft {
    pub fn begin(head: &Head, write: Pending, ops: Vec<Op>) -> Draft {
        let mut draft = Draft {
            revision: head.state.revision.next(),
            head: head.clone(),
            actor: write.actor.clone(),
            packed: Vec::new(),
            touched: HashSet::new(),
            bytes: 0,
            full: false,
        };
        draft.take(write, ops);
        draft
    }

    /// Decides `write` on top of what is packed and adds it if it fits. One that would append nothing waits: what it
    /// builds on is not true yet.
    pub fn join(&mut self, write: Pending) -> Joined {
        if self.full || write.actor != self.actor {
            return Joined::Not(write);
        }
        let Decision::Append(ops) = decide(&write, &self.head) else {
            return Joined::Not(write);
        };
        let fits = self.bytes + size(&ops) <= PACK_BYTES_MAX;
        if !fits || ops.iter().any(|op| self.touched.contains(&op.object())) {
            self.full = true;
            return Joined::Not(write);
        }
        self.take(write, ops);
        Joined::Joined
    }

    fn take(&mut self, write: Pending, ops: Vec<Op>) {
        self.head = self.head.with(&ops, self.revision);
        self.bytes += size(&ops);
        self.touched.extend(ops.iter().map(Op::object));
        self.packed.push((write, ops));
    }

    pub fn seal(self, stamp: Stamp, began: u64) -> Attempt {
        let ops = self.packed.iter().flat_map(|(_, ops)| ops.iter().cloned()).collect();
        let Stamp { op_id, at_ms } = stamp;
        let commit = Commit {
            revision: self.revision,
            at_ms,
            actor: self.actor,
            op_id,
            ops,
        };
        Attempt {
            commit: Arc::new(commit),
            head: Arc::new(self.head),
            packed: self.packed,
            began,
            may_be_there: false,
        }
    }
}

/// Bytes of the operations as the log keeps them.
pub fn size(ops: &[Op]) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, ops) {
        Ok(()) => count.0,
        // What cannot be written fits nowhere.
        Err(_) => usize::MAX,
    }
}

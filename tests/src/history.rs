//! A recorded history: what writers asked for and were told, and the log that has to bear it out.
//!
//! Nothing here knows the product's own types: what is judged is what clients and cqlsh see.

mod fold;
mod judge;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use fold::{Fold, Standing};
pub use judge::{Tally, Verdict, judge};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Put,
    Delete,
}

/// One request of a writer, with its answer.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub actor: String,
    /// `service/NAME` or `upstream/SERVICE/ID`.
    pub object: String,
    pub verb: Verb,
    /// Of a put, in the form in which the log keeps it; best one that no other attempt has.
    pub body: Option<Value>,
    /// The revision in `If-Match`.
    pub if_match: Option<u64>,
    /// Before the request was sent and after the answer was read, in µs on one clock.
    pub begun: u64,
    pub ended: u64,
    pub told: Told,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It stands since this revision, or stood at it already.
    Committed { revision: u64 },
    /// `committed: false`, for ever.
    NotCommitted,
    /// `committed: "unknown"`.
    Unknown { op_id: String },
    /// No answer came.
    Nothing,
    /// 412: the object was not at the revision asked for.
    OtherRevision,
    /// 404: the upstream's service is absent.
    NoService,
}

/// A revision as `/v1/revisions` shows it, and the table `changes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    pub revision: u64,
    pub op_id: String,
    pub actor: String,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Op {
    pub verb: Verb,
    pub kind: String,
    pub key: String,
    pub body: Option<Value>,
    pub registration: Option<u64>,
    pub before: Option<Standing>,
}

impl Op {
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind, self.key)
    }
}

/// What must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Revisions are 1, 2, 3, …
    Gap,
    /// One attempt to append is one revision.
    AppendedTwice,
    /// `before` is what stood.
    WrongBefore,
    /// What was told to be committed is there.
    Lost,
    /// What was told not to be committed is not there.
    Denied,
    /// An operation id that was told is that of the write.
    Misattributed,
    /// Every operation in the log is somebody's.
    MadeUp,
    /// What was answered before another write began stands before it.
    Overtaken,
    /// A condition held when the write was committed.
    ConditionBroken,
    /// A refusal, or an answer that nothing had to be done, was true at some moment between question and answer.
    Untrue,
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub detail: String,
}

//! What the store holds for the limits: cells that are read and compared-and-set, always SERIAL.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Label;
use super::message::{AccountId, Shard};
use crate::change::Revision;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CellKey {
    Claim(Shard),
    Row(AccountId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CellValue {
    Claim(Claim),
    Row(Row),
}

/// Who alone may grant tokens of the accounts of a shard, and until when by its label time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Grows with every new owner.
    pub epoch: u64,
    /// The incarnation.
    pub owner: Uuid,
    /// Label time when this was written, less all that label time may have skipped until then: it is at most as far before
    /// `to` as a claim reaches and that together.
    pub from: Label,
    /// No allowance of this claim is valid any longer.
    pub to: Label,
    /// What was counted until these edits of limits is with whoever counts it since. None: it was not asked for.
    pub recorded: Option<Revision>,
}

/// One account with a period over a minute: all its buckets in one row. One row per bucket would let two owners whose
/// label times differ each count without the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub version: u64,
    /// The operation that wrote it: how an owner recognizes its own after an unknown outcome.
    pub op: Uuid,
    /// Length of a bucket, nanoseconds.
    pub bucket: u64,
    /// How long what it charges counts, nanoseconds.
    pub span: u64,
    /// Tokens by bucket.
    pub buckets: BTreeMap<u64, u64>,
}

/// What became of a read or a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer to a read.
    Is(Option<CellValue>),
    Swapped,
    /// Not swapped, for this was there.
    Differs(Option<CellValue>),
    /// It may have been swapped, or be swapped later.
    Unknown,
    /// Nothing was done.
    Unavailable,
}

//! Revisions are unsigned here and signed there; one beyond 2^63 does not come about.

use shared::change::Revision;

use super::failure::malformed;
use crate::store::ReadError;

/// Revisions in a partition of the log.
pub const BUCKET: u64 = 1_000;

pub fn stored(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub fn revision(stored: i64) -> Result<Revision, ReadError> {
    u64::try_from(stored).map(Revision).map_err(malformed)
}

/// The partition that a revision lies in.
pub fn bucket(revision: Revision) -> u64 {
    revision.0 / BUCKET
}

/// The last revision of a partition: with it, it is full.
pub fn last_of(bucket: u64) -> Revision {
    Revision((bucket + 1) * BUCKET - 1)
}

/// Whether nothing can stand before it in its partition.
pub fn is_first(revision: Revision) -> bool {
    revision.0 == 1 || revision.0.is_multiple_of(BUCKET)
}

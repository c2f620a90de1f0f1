//! The cells of rate limits as a port: who owns a shard, and what long periods have counted.

use futures_util::future::BoxFuture;
use shared::quota::{CellKey, CellValue, Outcome, Row};

/// Cells that are read and compared-and-set, one at a time, each call within a deadline of seconds.
///
/// A claim is compared as a whole: an owner that prolongs it keeps its epoch, and a late attempt must not take that back.
/// A row is compared by its version and operation. What became of an unknown swap shows in a read by what it finds; a
/// repetition happens once at most, since what was expected is gone then.
pub trait Cells: Send + Sync {
    /// Sees every swap that was acknowledged before the call, by whomever. `Is`, or `Unavailable`.
    fn get(&self, key: CellKey) -> BoxFuture<'_, Outcome>;

    /// Writes `new` where `expected` is; none: where there is nothing. `Swapped` once it is durable, `Differs`, `Unknown`,
    /// or `Unavailable`. A value of another kind than its key is never written, and so `Unavailable`.
    ///
    /// A row is kept for as long as anything counts that it may have charged, and a day longer.
    fn swap(&self, key: CellKey, expected: Option<CellValue>, new: CellValue) -> BoxFuture<'_, Outcome>;
}

/// Seconds for which a row is kept after it was written: two periods and a day.
pub fn kept_for(row: &Row) -> u64 {
    const DAY: u64 = 86_400;
    (row.span / 1_000_000_000 + 1) * 2 + DAY
}

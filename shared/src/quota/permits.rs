//! How many requests of one account are in flight at a time, over the whole fleet.
//!
//! A permit is a place that a proxy may use again and again, until it gives it back. What each proxy has is a level, set by
//! the account's owner, which numbers its levels; what of it is in use is the proxy's affair, so that a request takes no hop.
//!
//! ```text
//!   owner ── Level {number, level} ─▶ proxy      in flight < level: admitted
//!         ◀─ Report {number, ceiling, …} ──      ceiling = max(level, in flight), which only a newer level can raise
//! ```
//!
//! The owner counts a proxy at the most of the ceiling that it reported and of every level sent with a number newer than the
//! one reported, and keeps the sum at the limit or below. So it does no harm that messages are lost, doubled or overtaken:
//! whatever a proxy may still take up is counted. Time plays no part: a proxy that is silent keeps what it has.

mod fair;
pub mod gates;
pub mod owner;
pub mod proxy;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::AccountId;
use crate::change::Revision;

/// Whoever wants more than it has says so again after so long.
const AGAIN: Duration = Duration::from_millis(50);

/// From a proxy to the owner of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub account: AccountId,
    /// Of the claim on the shard.
    pub epoch: u64,
    /// No level of this number or an older one will be taken up; 0: of none.
    pub number: u64,
    /// As many there are at most, until a newer level is taken up.
    pub ceiling: u32,
    pub in_flight: u32,
    /// As many would be in flight if they might, those included that are.
    pub wanted: u32,
    /// Nothing was in flight for some seconds: all of it may go back.
    pub is_idle: bool,
}

/// From the owner to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub account: AccountId,
    pub epoch: u64,
    /// Of the limit. A proxy that goes by another form of it takes up no more by this than it has.
    pub revision: Revision,
    /// Ascending over all levels of one owner.
    pub number: u64,
    pub level: u32,
    /// A report is wanted even if nothing is new.
    pub answer: bool,
    /// There is no more than that now.
    pub is_all: bool,
}

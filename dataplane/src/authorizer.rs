//! Asking services' authorizers, and remembering what they said.
//!
//! ```text
//! Desk (one a worker) → Memory (one a proxy): a fresh answer, or one call for all who ask the same
//!                     ↘ call: an upstream of the authorizer's service, by the worker's own connections
//! ```
//!
//! What is remembered stands under the authorizer's revision and the generation of its revocations as they were *before*
//! the call, and is held against the table of now whenever it is used: a swap forgets what it revoked in the same instant.

mod answer;
mod call;
mod desk;
mod key;
mod memory;
mod question;
mod shard;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use shared::change::Revision;
use shared::table::Authority;

pub use self::answer::{Answer, Grant, Reply, Target, Understood, X_VULCAN_AUTH_TOKEN, basic_challenge};
pub use self::desk::Desk;
pub use self::memory::{Joining, Known, Landing, Limits, Memory};
pub use self::shard::{Outcome, Remembered};

/// An authorizer as it stood in one view.
#[derive(Clone)]
pub struct Asked {
    pub authority: Arc<Authority>,
    /// Of the view: revisions of different eras cannot be compared.
    pub era: u64,
}

/// Under what an answer was given: while the table of now has the same, it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    era: u64,
    revision: Revision,
    generation: Revision,
}

impl Asked {
    pub fn stamp(&self) -> Stamp {
        Stamp {
            era: self.era,
            revision: self.authority.revision,
            generation: self.authority.generation(),
        }
    }
}

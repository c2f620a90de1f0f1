//! Why a hello is not answered by a welcome.

use std::fmt;
use std::time::Duration;

use crate::change::{Epoch, Revision};
use crate::stream::roster::{LEASE_MAX, LEASE_MIN};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not 1 to 253 bytes without slashes and control characters.
    Name,
    Lease,
    /// Another instance has the name, and its lease runs for so long.
    Held {
        wait: Duration,
    },
    /// A later start of the same instance was here already.
    OlderBoot {
        known: u64,
    },
    /// It follows another store, which this one may not succeed.
    OtherEpoch {
        ours: Epoch,
        theirs: Epoch,
    },
    /// It knows revisions that this log does not have: the store went back.
    Ahead {
        since: Revision,
        head: Revision,
    },
    /// At that revision this log holds something else: the store went back, and has grown again.
    Diverged {
        since: Revision,
    },
}

impl Refusal {
    /// Whether an operator must look at it: proxies would otherwise be taken back, or over, unasked.
    pub fn is_alarming(&self) -> bool {
        matches!(
            self,
            Refusal::OtherEpoch { .. } | Refusal::Ahead { .. } | Refusal::Diverged { .. }
        )
    }

    /// Whether another proxy, or another start of this one, is who it says that it is.
    pub fn is_held(&self) -> bool {
        matches!(self, Refusal::Held { .. } | Refusal::OlderBoot { .. })
    }

    /// Whether what was said is wrong in itself, whoever is asked.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Refusal::Name | Refusal::Lease)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Name => f.write_str("a proxy's name is 1 to 253 bytes without slashes and control characters"),
            Refusal::Lease => {
                write!(
                    f,
                    "a lease is {} to {} seconds",
                    LEASE_MIN.as_secs(),
                    LEASE_MAX.as_secs()
                )
            }
            Refusal::Held { wait } => write!(
                f,
                "another instance has this name, and may still serve for {:.1} s; is its data directory this one's?",
                wait.as_secs_f64()
            ),
            Refusal::OlderBoot { known } => write!(f, "start {known} of this instance was here already"),
            Refusal::OtherEpoch { ours, theirs } => write!(
                f,
                "the proxy follows the store {theirs}, and this is {ours}; an operator may let it succeed that one"
            ),
            Refusal::Ahead { since, head } => {
                write!(
                    f,
                    "the proxy holds revision {since}, and this store only {head}: the store went back"
                )
            }
            Refusal::Diverged { since } => {
                write!(
                    f,
                    "at revision {since} the proxy holds something else: this store went back and grew again"
                )
            }
        }
    }
}

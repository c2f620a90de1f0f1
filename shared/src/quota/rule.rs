//! What an account is counted by.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DELTA, Label, WHOLE, stretch};
use crate::change::Revision;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// No real interval of one period admits more than the threshold.
    #[default]
    Sliding,
    /// No window admits more than the threshold; an interval can straddle two windows.
    Fixed,
}

/// What a proxy does that has lost its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnreachable {
    /// It spends the standby that the owner gave it while it could.
    #[default]
    Share,
    Closed,
    /// It admits without counting.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub limit: Uuid,
    /// Of the limit's last change.
    pub revision: Revision,
    pub algorithm: Algorithm,
    pub period: Duration,
    pub threshold: u64,
    pub on_unreachable: OnUnreachable,
}

/// Buckets of a sliding window. A token counts for a period and up to one of them: fewer of them waste more, and more of them take more room.
const BUCKETS: u32 = 120;

impl Rule {
    /// However long the period, an allowance that is lost is not lost for longer.
    pub const VALIDITY_MAX: Duration = Duration::from_secs(60);
    const RESERVED_BUCKETS: u32 = 4;
    const PATIENT_BUCKETS: u32 = 4;
    /// What a proxy spends in so many buckets it is granted at once, if there is as much.
    const PORTION_BUCKETS: u32 = 12;
    /// Likewise under `fixed`, where what is in hand takes nothing from anyone but for the rest of its window.
    const PORTION_FIXED: u32 = 18;
    /// By so many buckets after its grant an allowance is over. Until then a proxy may be granted what is not free yet.
    pub const VALID_BUCKETS: u32 = 24;

    /// Owners tell by its length alone what was counted by another form: that of a sliding window is odd in nanoseconds, and a
    /// whole period is even, of whatever unit it is.
    pub fn bucket(&self) -> Duration {
        match self.algorithm {
            Algorithm::Sliding => Duration::from_nanos(nanos(self.bucket_sliding()) | 1),
            Algorithm::Fixed => self.period,
        }
    }

    /// How long before a grant a token admitted by it may have been admitted within one real period.
    pub fn span(&self) -> Duration {
        stretch(self.period)
    }

    /// The longest from a grant to the end of what was granted.
    pub fn validity(&self) -> Duration {
        (self.bucket_sliding() * Self::VALID_BUCKETS).min(Self::VALIDITY_MAX)
    }

    /// A proxy is granted at once what it spends in that time.
    pub fn portion(&self) -> Duration {
        let buckets = match self.algorithm {
            Algorithm::Sliding => Self::PORTION_BUCKETS,
            Algorithm::Fixed => Self::PORTION_FIXED,
        };
        (self.bucket_sliding() * buckets).min(Self::VALIDITY_MAX)
    }

    /// For how long what is taken out of the store may be granted, at the least. All of it counts as spent at the end of
    /// that, so that a longer time would be one for which less is to be had.
    pub fn reserved(&self) -> Duration {
        (self.bucket_sliding() * Self::RESERVED_BUCKETS).min(Self::VALIDITY_MAX)
    }

    /// After so long an allowance may be recalled, and an account that has nothing is asked for again.
    pub fn patience(&self) -> Duration {
        (self.bucket_sliding() * Self::PATIENT_BUCKETS).min(Self::VALIDITY_MAX)
    }

    fn bucket_sliding(&self) -> Duration {
        self.period / BUCKETS
    }

    /// How long a window is over before it ends. A label time that runs too fast makes two windows shorter than two
    /// periods, and two owners disagree about when one ends.
    pub fn guard(&self) -> Duration {
        match self.algorithm {
            Algorithm::Sliding => Duration::ZERO,
            Algorithm::Fixed => stretch(self.period) - self.period + 2 * DELTA,
        }
    }

    pub fn bucket_of(&self, label: Label) -> u64 {
        label.as_nanos() / nanos(self.bucket())
    }

    pub fn begin(&self, bucket: u64) -> Label {
        Label::from_nanos(bucket.saturating_mul(nanos(self.bucket())))
    }

    pub fn end(&self, bucket: u64) -> Label {
        self.begin(bucket.saturating_add(1))
    }

    /// Whether windows of the one are windows of the other.
    pub fn counts_like(&self, other: &Rule) -> bool {
        self.algorithm == other.algorithm && self.period == other.period
    }

    /// Whether a proxy may use a standby. It begins a period after its owner was lost, and ends `forget_after` that.
    pub fn has_standby(&self, forget_after: Duration) -> bool {
        self.on_unreachable == OnUnreachable::Share && self.period < forget_after
    }

    /// The tokens of one account that a standby of this weight stands for.
    pub fn standby(&self, weight: u64) -> u64 {
        let tokens = u128::from(self.threshold) * u128::from(weight) / u128::from(WHOLE);
        u64::try_from(tokens).unwrap_or(u64::MAX)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// How many requests of one account may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrent {
    pub most: u32,
    /// Of the limit's last change.
    pub revision: Revision,
    pub on_unreachable: OnUnreachable,
}

/// The limits of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Of the table: at or after that of every rule in it.
    pub revision: Revision,
    pub rules: BTreeMap<Uuid, Rule>,
    /// Of limits that are counted and not enforced: nothing is granted by them.
    pub observed: BTreeMap<Uuid, Rule>,
    /// Of those that say how many requests may be in flight, enforced or not.
    pub concurrent: BTreeMap<Uuid, Concurrent>,
}

impl Rules {
    pub fn of(&self, limit: &Uuid) -> Option<&Rule> {
        self.rules.get(limit)
    }

    /// Whether there is nothing to count.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.observed.is_empty() && self.concurrent.is_empty()
    }
}

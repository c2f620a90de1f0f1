use std::time::Duration;

use shared::change::Revision;
use shared::time::Time;

/// A renewal may be so late.
const LATE: Duration = Duration::from_millis(150);

/// One registration that is to be renewed.
#[derive(Debug)]
pub struct Beat {
    pub revision: Revision,
    pub ttl: Duration,
    /// Silent from then on.
    pub due: Time,
    /// Where it stands in the list of timers.
    pub timer: Option<Time>,
    pub stage: Stage,
    /// The last sign of life that is known here: its registration, or a renewal.
    pub alive: Time,
    /// When a renewal came here last; one that the owner was told of may have left no trace.
    pub heard: Option<Time>,
    /// No renewal is answered before.
    pub promised_until: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Live,
    /// Silent, together with too many others.
    Lapsed,
    /// Silent; whether anybody else has heard of it is being asked.
    Asking,
    /// Being unregistered.
    Ending,
}

impl Beat {
    pub fn new(revision: Revision, ttl: Duration, now: Time) -> Beat {
        Beat {
            revision,
            ttl,
            due: now + ttl,
            timer: None,
            stage: Stage::Live,
            alive: now,
            heard: None,
            promised_until: None,
        }
    }

    /// Who is heard later than this outlived it: a third of its `ttl` before its time was over. Whoever is renewed three
    /// times within that was missed twice by then, so another one that stopped with it has not been heard since either.
    pub fn outlived_from(&self) -> Time {
        let third = self.due.as_nanos().saturating_sub(nanos(self.ttl / 3));
        Time::from_nanos(third + nanos(LATE))
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Ending)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

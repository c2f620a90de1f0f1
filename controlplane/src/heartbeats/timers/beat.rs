use std::time::Duration;

use shared::change::Revision;
use shared::time::Time;

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
            heard: None,
            promised_until: None,
        }
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Ending)
    }
}

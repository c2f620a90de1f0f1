//! What a proxy knows of a shard and its owner.

use std::time::Duration;

use uuid::Uuid;

use crate::quota::message::Standby;
use crate::quota::{Label, Settings};
use crate::time::Time;

/// What label time was, at the least, by the owner of a former epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub epoch: u64,
    pub label: Label,
    pub at: Time,
}

/// How this proxy sees a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// 0: none is known. What is older is refused.
    pub epoch: u64,
    pub owner: Option<Uuid>,
    pub standby: Standby,
    /// No standby is used before this, and what follows from a limit's period.
    pub quiet_until: Time,
    /// The last message that the owner is known to have read was sent then; none: a sleep ago.
    pub reached: Option<Time>,
    /// Of the owner before this epoch's, and of the oldest one that was heard not long ago.
    pub before: Option<Before>,
    pub oldest: Option<Before>,
}

impl View {
    pub fn unmet(settings: &Settings, now: Time) -> View {
        View {
            quiet_until: now + settings.promise,
            reached: Some(now),
            ..View::default()
        }
    }

    /// The owner has read what was sent then. If it had heard nothing for so long that it gave this proxy's standby to others,
    /// that is over, though it is heard again: there is none until it assigns one.
    pub fn reach(&mut self, sent: Time, forget_after: Duration, now: Time) {
        if !self.is_remembered(forget_after, now) {
            self.standby.weight = 0;
        }
        self.reached = self.reached.max(Some(sent));
    }

    pub fn is_remembered(&self, forget_after: Duration, now: Time) -> bool {
        self.reached.is_some_and(|reached| now.since(reached) < forget_after)
    }
}

//! What a control plane knows of one proxy.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::change::Revision;
use crate::stream::message::Level;
use crate::time::Time;

/// One connection of a proxy to this control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

impl SessionId {
    /// Counts up from the start of this control plane.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One instance under one name.
#[derive(Debug)]
pub struct Peer {
    pub(super) name: Arc<str>,
    pub(super) instance: Uuid,
    pub(super) lease: Duration,
    /// A member, or one that may still serve, without a break since this revision.
    pub(super) member_since: Revision,
    /// Removed from the roster; remembered until then.
    pub(super) removed_until: Option<Time>,
    /// It was its goodbye that removed it: it is over once nobody holds it.
    pub(super) said_goodbye: bool,
    /// That of the last hello; unknown before the first one after a start.
    pub(super) boot: Option<u64>,
    pub(super) build: Arc<str>,
    pub(super) session: Option<SessionId>,
    /// The last one there was, and the one that said goodbye.
    pub(super) last_session: Option<SessionId>,
    pub(super) farewell: Option<(SessionId, Time)>,
    /// When the session ended, or this control plane began.
    pub(super) absent_since: Time,
    pub(super) heard: Time,
    pub(super) level: Option<Level>,
    pub(super) hold: Option<Hold>,
}

/// This control plane may be keeping a lease: it was heard, and was not released since.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) since: Time,
    /// What it must have applied before it is echoed, and in which life of the own row that was read.
    pub(super) vouched: Option<(Revision, u64)>,
}

impl Hold {
    pub(super) fn begin(now: Time) -> Hold {
        Hold {
            since: now,
            vouched: None,
        }
    }
}

impl Peer {
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// The connection that speaks for it here.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    pub fn build(&self) -> &Arc<str> {
        &self.build
    }

    pub fn lease(&self) -> Duration {
        self.lease
    }

    pub fn member_since(&self) -> Revision {
        self.member_since
    }

    pub fn is_member(&self) -> bool {
        self.removed_until.is_none()
    }

    /// Whether it said goodbye and nobody has spoken for it since.
    pub(super) fn has_left(&self) -> bool {
        self.farewell
            .is_some_and(|(session, _)| Some(session) == self.last_session)
    }

    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Of the last hello to this control plane.
    pub fn boot(&self) -> Option<u64> {
        self.boot
    }

    /// What it reported last to this control plane, in this incarnation.
    pub fn level(&self) -> Option<&Level> {
        self.level.as_ref()
    }
}

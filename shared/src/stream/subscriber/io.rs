//! What goes into a subscriber and what comes out of it.

use std::fmt;
use std::time::Duration;

use crate::change::{Epoch, Revision};
use crate::model::ServiceName;
use crate::quota::{self, Shard};
use crate::state::State;
use crate::stream::message::{Change, Down, Draining, Held, Query, Up, Upstreams, Warming};
use crate::table::Table;

/// What happened. The answers to outputs are fed back in the order of the outputs.
#[derive(Debug)]
pub enum Input {
    /// At least every 250 ms.
    Tick,
    /// The connection that was asked for takes lines.
    Connected,
    /// What was read at once: its changes are applied together.
    Lines(Vec<Down>),
    /// There is no connection any more, or none came about.
    Disconnected(Disconnected),
    /// What the offered snapshot came to.
    Fetched(Result<State, String>),
    /// A `Save` or `Write` is done.
    Stored(Result<(), String>),
    /// An `Unlink` is done.
    Unlinked(Result<(), String>),
    /// A `Swap` is done.
    Swapped,
    /// A `Retire` is done, and nothing is sent any more that was decided on the table before; with what is draining at this
    /// moment. Until then other inputs may be handed in.
    Retired(Vec<Draining>),
    /// What is draining at this moment. Only ever read and handed in at once: a level that was read before a `Retire`
    /// and handed in after it would hide what that retired.
    Draining(Vec<Draining>),
    /// Every registration that has not passed its health check, at this moment: read and handed in at once, whenever one
    /// begins or ends to be one, and after a swap before its `Retire` is answered.
    Warming(Vec<Warming>),
    /// Every hold that is in force at this moment, with what is in flight at its service: read and handed in at once, and
    /// after a `Retire` before it is answered, so that an acknowledgement tells of holds that it brought into force.
    Held(Vec<Held>),
    /// To an owner of limits. Lost where there is no connection.
    Limits(Box<quota::Up>),
    /// A `Look` is done.
    Seen(Upstreams),
    /// The process ends: the listeners close.
    Stopping,
    /// The listeners are closed, and nothing is in flight any more.
    Drained,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnected {
    Lost(String),
    /// The control plane answered something else than a stream.
    Refused {
        status: u16,
        detail: String,
        /// Another one has this proxy's name, says a control plane of its fleet.
        held: bool,
    },
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Open a connection to this one of the addresses. At most one is open at a time.
    Connect {
        url: usize,
    },
    Send(Up),
    /// Drop the connection. Nothing of it is handed in any more.
    Close,
    /// Get the snapshot from the address connected to; at most one at a time. Dropped with the connection.
    Fetch {
        path: String,
    },
    /// See how the upstreams are. It may take its time, and is answered whenever it is done, or not at all: nothing waits
    /// for it here.
    Look(Query),
    /// From an owner of limits.
    Limits(Box<quota::Down>),
    /// Of the shards of limits that are claimed.
    Epochs(Vec<(Shard, u64)>),
    /// Hold this instead of all that is stored.
    Save(Box<State>),
    /// Store these behind what is stored already, so that the process may be killed at any moment after it.
    Write(Vec<Change>),
    /// Forget all that is stored.
    Unlink,
    /// Make this the table of now. `touched`: it differs in these services only; none: anywhere.
    Swap {
        table: Box<Table>,
        touched: Option<Vec<ServiceName>>,
    },
    /// Forbid what the last swap left out.
    Retire,
    Phase(Phase),
    Alarm(Alarm),
    /// The proxy has left, or has waited long enough for it.
    Finished,
}

/// What the proxy as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no table, or one from disk that has not caught up: the data listeners are not bound yet.
    Starting,
    /// `stale`: no control plane has been heard within the lease, or none at all since a start from disk.
    Serving { stale: bool },
    /// The lease is over, and load balancers shall look elsewhere; whoever comes all the same is served.
    Unready,
    /// The lease is over, and nothing may be served: listeners closed, what is under way finished or cut.
    Stopped,
    /// The process ends.
    Draining,
}

impl Phase {
    pub fn is_ready(self) -> bool {
        matches!(self, Phase::Serving { .. })
    }

    /// Whether the data listeners are to be open.
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Serving { .. } | Phase::Unready)
    }

    /// Whether connections that are kept alive end with the request that is under way, if one is.
    pub fn ends_keep_alives(self) -> bool {
        matches!(self, Phase::Stopped | Phase::Draining)
    }
}

/// What a proxy does once its lease is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeaseEnd {
    /// Goes on with the table that it has, and says that it is stale.
    #[default]
    Serve,
    /// Goes on, but is not ready any more.
    Unready,
    /// Serves nothing until it has caught up.
    Stop,
}

/// What an operator must look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    OtherEpoch {
        followed: Epoch,
        offered: Epoch,
    },
    /// The store holds less than this proxy: it went back.
    WentBack {
        applied: Revision,
        offered: Revision,
    },
    Refused {
        status: u16,
        detail: String,
    },
    /// The fold has another digest than announced: a defect, healed by a snapshot.
    DigestMismatch {
        revision: Revision,
    },
    /// The local state is gone and the proxy goes on without; a restart begins with nothing.
    DiskLost(String),
    /// The local state cannot be written, nor removed: nothing is acknowledged until it can.
    DiskStuck(String),
    LeaseOver {
        after: Duration,
    },
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::OtherEpoch { followed, offered } => {
                write!(
                    f,
                    "the control plane serves the store {offered}, and this proxy follows {followed}"
                )
            }
            Alarm::WentBack { applied, offered } => {
                write!(
                    f,
                    "the control plane offers revision {offered}, and this proxy holds {applied}"
                )
            }
            Alarm::Refused { status, detail } => write!(f, "the control plane refuses this proxy: {status} {detail}"),
            Alarm::DigestMismatch { revision } => {
                write!(
                    f,
                    "the configuration at revision {revision} is not what the control plane has"
                )
            }
            Alarm::DiskLost(why) => write!(f, "the local state cannot be written, and was removed: {why}"),
            Alarm::DiskStuck(why) => {
                write!(
                    f,
                    "the local state can neither be written nor removed; nothing is acknowledged: {why}"
                )
            }
            Alarm::LeaseOver { after } => {
                write!(f, "no control plane has been heard for {:.1} s", after.as_secs_f64())
            }
        }
    }
}

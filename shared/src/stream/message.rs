//! The lines of `POST /v1/stream`: one JSON object each, named by its only key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::change::{Epoch, Op, Revision};
use crate::digest::Digest;
use crate::quota::{self, Shard};
use crate::time::Time;

/// From a proxy to the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Up {
    Hello(Hello),
    State(State),
    /// The answer to a query.
    Upstreams(Upstreams),
    /// To the owner of limits that it names, wherever that is.
    Limits(Box<quota::Up>),
    /// Said once the listeners are closed and nothing is in flight any more.
    Goodbye {},
}

/// From the control plane to a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Down {
    Welcome(Welcome),
    Snapshot(SnapshotOffer),
    Change(Change),
    Beat(Beat),
    /// Say how the upstreams are; only to those that say [`QUERY`] among their features.
    Query(Query),
    /// From an owner of limits; this and what follows only to those that say [`LIMITS`] among their features.
    Limits(Box<quota::Down>),
    /// The epochs of all shards of limits that are claimed, as read after the proxy was on the roster.
    Epochs {
        shards: Vec<(Shard, u64)>,
    },
    /// Connect anew, elsewhere if there is an elsewhere, after so many milliseconds.
    Goaway {
        after_ms: u64,
    },
}

/// The feature of a proxy that answers queries.
pub const QUERY: &str = "query";
/// The feature of a proxy that keeps limits together with the others.
pub const LIMITS: &str = "limits";
/// Registrations in a level that have not passed their health check; what is beyond is only counted.
pub const WARMING_MAX: usize = 1_000;
/// Services held at a time, everywhere.
pub const HELD_MAX: usize = 1_000;
/// Upstreams that are named for each of them; who waits wants to know that there is one.
pub const BUSY_MAX: usize = 100;
/// Entries of an answer to a query; what is beyond is only counted.
pub const UPSTREAMS_MAX: usize = 1_000;
/// Services that an answer about traffic names; those beyond are counted together.
pub const TRAFFIC_MAX: u64 = 1_000;
/// What it calls them. No service can be called so.
pub const OTHERS: &str = "_other";

/// Who speaks, and from where it would go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub name: Arc<str>,
    /// The data directory's identity; with `boot` it tells a restart from an impostor.
    pub instance: Uuid,
    /// Counts the starts of this instance.
    pub boot: u64,
    /// The store followed so far; none before the first table.
    pub epoch: Option<Epoch>,
    /// The configuration revision applied so far; 0 without a table.
    pub since: Revision,
    /// Of the configuration at `since`.
    pub digest: Digest,
    pub lease_ms: u64,
    /// The fold at `since` did not have the digest that was announced (then `digest` is the announced one): a snapshot
    /// must follow, and no resumption.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resync: bool,
    pub build: Arc<str>,
    #[serde(default)]
    pub features: Vec<Arc<str>>,
}

/// A level, never an edge: the whole of it is sent after every hello and at every change. Between changes only `sent`
/// travels, once a second, and keeps the lease.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// By the proxy's clock; echoed in a beat, and the lease runs from it.
    pub sent: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub applied: Revision,
    /// Whether the local log holds `applied`.
    pub persisted: bool,
    pub refused: Vec<Refused>,
    pub draining: Vec<Draining>,
    pub warming: Vec<Warming>,
    /// How many of them the list leaves out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warming_more: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Level {
    /// Whether nothing but the revision is new.
    pub fn differs_in_revision_only(&self, other: &Level) -> bool {
        self.persisted == other.persisted
            && self.refused == other.refused
            && self.draining == other.draining
            && self.warming == other.warming
            && self.warming_more == other.warming_more
            && self.held == other.held
    }
}

/// An object that this proxy cannot apply; its last good form stays in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// As `ObjectKey` prints it: `service/web`.
    pub object: Arc<str>,
    pub revision: Revision,
    pub detail: String,
}

/// An identity that a write retired and that is in use: with something still in flight, or serving on until the address
/// that took its place is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    pub service: Arc<str>,
    pub id: Arc<str>,
    pub address: Arc<str>,
    /// 0: of a history that was followed before this one, and so before all that is written here.
    pub registration: Revision,
    /// May be 0 of one that serves on.
    pub in_flight: u64,
}

/// A registration that has not passed its health check yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warming {
    pub service: Arc<str>,
    pub id: Arc<str>,
    pub registration: Revision,
    /// Outcome of the last check, for people.
    pub last: Arc<str>,
}

/// A hold that is in force: its service's requests wait here. It is not named any more once it is resumed or its time is
/// over, whatever the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub service: Arc<str>,
    /// Of the hold.
    pub revision: Revision,
    /// Upstreams that may be chosen and have something in flight, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub busy: Vec<Busy>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    pub id: Arc<str>,
    pub in_flight: u64,
}

/// How upstreams are is asked for when somebody wants to know. In the level it would travel every second, for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Stands in the answer.
    pub id: u64,
    /// None: of all services. A proxy that is older than what stands there takes it for that, too.
    #[serde(flatten)]
    pub about: Option<About>,
}

/// Some of the upstreams, in an order, from behind a place in it; an empty one: from the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum About {
    /// One service's, by their ids.
    #[serde(rename = "of")]
    Service { service: Arc<str>, after: Arc<str> },
    /// All that are registered at one address, by `service/id`.
    #[serde(rename = "at")]
    Address { address: Arc<str>, after: Arc<str> },
    /// Not of upstreams but of requests, by service: so many of those with the most by their names.
    #[serde(rename = "traffic")]
    Traffic { named: u64 },
}

/// How the upstreams are that requests may be sent to, at one moment: of all services first those that are not up, then
/// those with something in flight, each by service and id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstreams {
    pub id: u64,
    pub list: Vec<Seen>,
    /// How many the list leaves out.
    pub more: u64,
    /// To a question about it. None: the proxy is older than that question, and tells of upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Vec<Traffic>>,
}

/// HTTP requests of one service that have ended, since the proxy began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub service: Arc<str>,
    pub requests: u64,
    /// Of them: those answered from 500 on.
    pub errors: u64,
    /// Of them: those answered 429.
    pub limited: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub service: Arc<str>,
    pub id: Arc<str>,
    /// `up`, `down`, `ejected` or `warming`. A word and not a set of them: it is passed on to people, also by a control plane that is older
    /// than a word of its proxies.
    pub health: Arc<str>,
    pub in_flight: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    pub epoch: Epoch,
    pub succeeds: Vec<Epoch>,
    /// The configuration revision that a starting proxy must have applied before it serves.
    pub head: Revision,
    /// Whether nothing was in the log beyond `head` when the hello came. If that is not known, others may have promised
    /// more, and what this control plane knows is not enough to begin to serve.
    pub current: bool,
    /// Whether the hello counts for the lease. If not, only a later echo does: other control planes must know first.
    pub leased: bool,
}

/// Fetch this by an ordinary GET; changes after `revision` follow on the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotOffer {
    pub revision: Revision,
    pub path: String,
    pub digest: Digest,
}

/// The operations of the configuration revision `to`; a receiver must hold at least `from`, the configuration revision
/// before it. Revisions of the roster alone lie between and are not told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub from: Revision,
    pub to: Revision,
    pub ops: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// The last configuration revision sent on this connection, and its digest: a receiver that has applied less has
    /// missed something.
    pub head: Revision,
    pub digest: Digest,
    /// `sent` of the last state that was read from this proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_one_thing_or_about_all() {
        let about = [
            (None, r#"{"id":7}"#),
            (
                Some(About::Service {
                    service: "web".into(),
                    after: "a".into(),
                }),
                r#"{"id":7,"of":{"service":"web","after":"a"}}"#,
            ),
            (
                Some(About::Address {
                    address: "a:1".into(),
                    after: "b".into(),
                }),
                r#"{"id":7,"at":{"address":"a:1","after":"b"}}"#,
            ),
            (Some(About::Traffic { named: 9 }), r#"{"id":7,"traffic":{"named":9}}"#),
        ];
        for (about, text) in about {
            let query = Query { id: 7, about };
            assert_eq!(serde_json::to_string(&query).unwrap(), text);
            assert_eq!(serde_json::from_str::<Query>(text).unwrap(), query);
        }
        // Of what it does not know a reader knows nothing: it answers for all.
        let later = serde_json::from_str::<Query>(r#"{"id":7,"by":{"colour":"red"}}"#);
        assert_eq!(later.unwrap(), Query { id: 7, about: None });
    }
}

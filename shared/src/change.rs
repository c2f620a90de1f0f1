//! The log: every state of the configuration and of the roster is a fold of commits, each with one revision.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::LimitId;

/// The number of a committed change; one total order over all configuration and the roster. 0 is the empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    pub const ZERO: Revision = Revision(0);

    /// No log comes to the last one, but a peer may claim to be there.
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a store. A proxy follows one, or one that an operator let succeed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub Uuid);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Marks one attempt to commit, so that its writer recognises it after an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub Uuid);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Put,
    Delete,
}

/// What an operation is about. The order is that of a snapshot: a service stands before its upstreams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Service,
    Upstream,
    /// A proxy on the roster. Not streamed to proxies, not in the digest.
    Member,
    /// An epoch that this store may take proxies over from; its key is that epoch.
    Succession,
    Authorizer,
    /// The last one of an authorizer, whose name is its key.
    Revocation,
    Limit,
    /// Of a service, whose name is its key: its requests wait.
    Hold,
    /// Written by a newer version: kept as it is, and refused by name where it would have to be understood.
    Unknown(Arc<str>),
}

impl Kind {
    pub fn as_str(&self) -> &str {
        match self {
            Kind::Service => "service",
            Kind::Upstream => "upstream",
            Kind::Member => "member",
            Kind::Succession => "succession",
            Kind::Authorizer => "authorizer",
            Kind::Revocation => "revocation",
            Kind::Limit => "limit",
            Kind::Hold => "hold",
            Kind::Unknown(name) => name,
        }
    }

    /// Whether proxies are told of it, and the digest covers it.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Kind::Member | Kind::Succession)
    }
}

impl From<&str> for Kind {
    fn from(name: &str) -> Kind {
        match name {
            "service" => Kind::Service,
            "upstream" => Kind::Upstream,
            "member" => Kind::Member,
            "succession" => Kind::Succession,
            "authorizer" => Kind::Authorizer,
            "revocation" => Kind::Revocation,
            "limit" => Kind::Limit,
            "hold" => Kind::Hold,
            other => Kind::Unknown(other.into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        Ok(Kind::from(&*std::borrow::Cow::<str>::deserialize(deserializer)?))
    }
}

/// Names one object in the whole configuration: `service/web`, `upstream/web/127.0.0.1:3000`, `member/proxy-1`.
///
/// The key of an upstream is `<service>/<id>`; neither part can hold a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    pub kind: Kind,
    pub key: Arc<str>,
}

impl ObjectKey {
    pub fn service(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Service,
            key: name.into(),
        }
    }

    pub fn upstream(service: &str, id: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Upstream,
            key: format!("{service}/{id}").into(),
        }
    }

    pub fn authorizer(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Authorizer,
            key: name.into(),
        }
    }

    /// Of an authorizer: what was revoked there last.
    pub fn revocation(authorizer: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Revocation,
            key: authorizer.into(),
        }
    }

    pub fn limit(id: LimitId) -> ObjectKey {
        ObjectKey {
            kind: Kind::Limit,
            key: id.to_string().into(),
        }
    }

    pub fn hold(service: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Hold,
            key: service.into(),
        }
    }

    pub fn member(name: &str) -> ObjectKey {
        ObjectKey {
            kind: Kind::Member,
            key: name.into(),
        }
    }

    /// Of an upstream: its service and its id.
    pub fn upstream_parts(&self) -> Option<(&str, &str)> {
        match self.kind {
            Kind::Upstream => self.key.split_once('/'),
            _ => None,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

/// The JSON text of an object, byte for byte as it was committed: the digest is over these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// `json` must be one JSON value without surrounding white space; serde_json's compact form is.
    pub fn from_json(json: &str) -> Result<Body, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(json)?;
        Ok(Body(raw.get().into()))
    }

    pub fn of<T: Serialize>(value: &T) -> Result<Body, serde_json::Error> {
        Ok(Body(serde_json::to_string(value)?.into()))
    }

    /// A value already in memory always has a text; its keys stand in order.
    pub fn of_value(value: &serde_json::Value) -> Body {
        Body(value.to_string().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Body(raw.get().into()))
    }
}

/// What an operation replaced: history shows differences by it, and a revert needs no replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub body: Body,
    pub revision: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Revision>,
}

/// One change of one object. A commit holds at most one per object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    pub verb: Verb,
    pub kind: Kind,
    pub key: Arc<str>,
    /// What is put. Of a member that is deleted: how it left. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// Of an upstream that stays the registration it was: the revision that began it. Absent for an upstream: this
    /// operation's own revision begins a new registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Revision>,
    /// Kept in the log only; not streamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

impl Op {
    pub fn object(&self) -> ObjectKey {
        ObjectKey {
            kind: self.kind.clone(),
            key: self.key.clone(),
        }
    }

    /// Of an upstream: the revision that began its registration, where this operation is one of `revision`. None begins
    /// later than the operation that says so.
    pub fn registered(&self, revision: Revision) -> Revision {
        self.registration
            .map_or(revision, |registration| registration.min(revision))
    }

    /// The operation by which this store may take over the proxies of `from`, and is called `to` from then on: another
    /// epoch than it was, only where `from` is its own.
    pub fn succession(from: Epoch, to: Epoch) -> Op {
        Op {
            verb: Verb::Put,
            kind: Kind::Succession,
            key: from.to_string().into(),
            body: Some(Body(format!(r#"{{"epoch":"{to}"}}"#).into())),
            registration: None,
            before: None,
        }
    }

    /// Of a succession: what the store is called from then on.
    pub fn epoch(&self) -> Option<Epoch> {
        #[derive(Deserialize)]
        struct Named {
            epoch: Epoch,
        }
        let body = self.body.as_ref().filter(|_| self.kind == Kind::Succession)?;
        serde_json::from_str::<Named>(body.as_str())
            .ok()
            .map(|named| named.epoch)
    }
}

/// One revision as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub revision: Revision,
    /// Milliseconds since the Unix epoch, by the writer's clock; for people only, nothing decides by it.
    pub at_ms: u64,
    pub actor: Arc<str>,
    pub op_id: OpId,
    pub ops: Vec<Op>,
}

impl Commit {
    /// Whether proxies are told of this revision. Those of the roster alone are spanned by the next change.
    pub fn is_configuration(&self) -> bool {
        self.ops.iter().any(|op| op.kind.is_configuration())
    }
}

//! The fold of the log: what stands after a revision.

use std::sync::Arc;

use imbl::OrdMap;

use crate::change::{Body, Commit, Epoch, Kind, ObjectKey, Op, Revision, Verb};
use crate::digest::Digest;

/// One live object of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// That of the last change; the object's `ETag`.
    pub revision: Revision,
    /// Of an upstream: the revision that began this registration.
    pub registration: Option<Revision>,
    pub body: Body,
}

impl Object {
    fn digest(&self, key: &ObjectKey) -> Digest {
        Digest::of_object(&key.kind, &key.key, self.revision, self.registration, &self.body)
    }
}

/// Everything that stands at one revision. Persistent maps: a clone is O(1), a change O(log n).
#[derive(Clone, Debug)]
pub struct State {
    pub epoch: Epoch,
    /// The head: the last revision folded in.
    pub revision: Revision,
    /// The last revision that changed configuration; what proxies at the head have applied.
    pub configured: Revision,
    /// Configuration, roster and successions alike, in the order of a snapshot.
    pub objects: OrdMap<ObjectKey, Arc<Object>>,
    /// Over the configuration objects only.
    pub digest: Digest,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    pub held: Revision,
    pub offered: Revision,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "revision {} does not follow revision {}", self.offered, self.held)
    }
}

impl std::error::Error for Gap {}

impl State {
    pub fn empty(epoch: Epoch) -> State {
        State {
            epoch,
            revision: Revision::ZERO,
            configured: Revision::ZERO,
            objects: OrdMap::new(),
            digest: Digest::default(),
        }
    }

    /// Folds in the next commit of the log; anything but the next one is a gap and changes nothing.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), Gap> {
        if commit.revision != self.revision.next() {
            return Err(Gap {
                held: self.revision,
                offered: commit.revision,
            });
        }
        commit.ops.iter().for_each(|op| self.apply_op(op, commit.revision));
        self.revision = commit.revision;
        if commit.is_configuration() {
            self.configured = commit.revision;
        }
        Ok(())
    }

    /// Folds in one operation of `revision`. The caller vouches for the order and sets the revision afterwards.
    pub fn apply_op(&mut self, op: &Op, revision: Revision) {
        let key = op.object();
        if let Some(epoch) = op.epoch() {
            self.epoch = epoch;
        }
        let object = match (op.verb, &op.body) {
            (Verb::Put, Some(body)) => {
                let registration = match op.kind {
                    Kind::Upstream => Some(op.registration.unwrap_or(revision)),
                    _ => None,
                };
                Some(Object {
                    revision,
                    registration,
                    body: body.clone(),
                })
            }
            _ => None,
        };
        self.replace(key, object);
    }

    /// Puts or removes one object and keeps the digest true.
    pub fn replace(&mut self, key: ObjectKey, object: Option<Object>) {
        let configuration = key.kind.is_configuration();
        let old = match object {
            Some(object) => {
                if configuration {
                    self.digest.add(object.digest(&key));
                }
                self.objects.insert(key.clone(), Arc::new(object))
            }
            None => self.objects.remove(&key),
        };
        if let (Some(old), true) = (old, configuration) {
            self.digest.remove(old.digest(&key));
        }
    }

    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The epochs that an operator let this store succeed.
    pub fn succeeds(&self) -> Vec<Epoch> {
        let from = ObjectKey {
            kind: Kind::Succession,
            key: "".into(),
        };
        self.objects
            .range(from..)
            .take_while(|(key, _)| key.kind == Kind::Succession)
            .filter_map(|(key, _)| key.key.parse().ok().map(Epoch))
            .collect()
    }
}

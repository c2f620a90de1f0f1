//! The fold of the log: what stands after a revision.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

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
                    Kind::Upstream => Some(op.registered(revision)),
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

    /// Folds in what a proxy is told of `revision`, as `apply_op` does. Roster and successions are not for proxies: a
    /// change must not take one to another epoch.
    pub fn apply_told(&mut self, ops: &[Op], revision: Revision) {
        let told = ops.iter().filter(|op| op.kind.is_configuration());
        told.for_each(|op| self.apply_op(op, revision));
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

    /// What is another object here than in `earlier`, or is in one of the two only. At the price of what is not shared.
    pub fn changed_since<'a>(&'a self, earlier: &'a State) -> impl Iterator<Item = &'a ObjectKey> {
        earlier.objects.diff(&self.objects).map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
            DiffItem::Update { new: (key, _), .. } => key,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::OpId;

    fn put(kind: Kind, key: &str, json: &str) -> Op {
        let body = Some(Body::from_json(json).unwrap());
        Op {
            verb: Verb::Put,
            kind,
            key: key.into(),
            body,
            registration: None,
            before: None,
        }
    }

    fn delete(kind: Kind, key: &str) -> Op {
        Op {
            verb: Verb::Delete,
            kind,
            key: key.into(),
            body: None,
            registration: None,
            before: None,
        }
    }

    fn commit(revision: u64, ops: Vec<Op>) -> Commit {
        let op_id = OpId(uuid::Uuid::nil());
        Commit {
            revision: Revision(revision),
            at_ms: 0,
            actor: "test".into(),
            op_id,
            ops,
        }
    }

    fn empty() -> State {
        State::empty(Epoch(uuid::Uuid::nil()))
    }

    fn recomputed(state: &State) -> Digest {
        let configuration = state.objects.iter().filter(|(key, _)| key.kind.is_configuration());
        configuration.fold(Digest::default(), |mut digest, (key, object)| {
            digest.add(object.digest(key));
            digest
        })
    }

    #[test]
    fn only_the_next_commit_is_folded_in() {
        let mut state = empty();
        state.apply(&commit(1, vec![put(Kind::Service, "web", "{}")])).unwrap();
        let before = state.clone();
        for offered in [0, 1, 3] {
            let gap = state
                .apply(&commit(offered, vec![put(Kind::Service, "api", "{}")]))
                .unwrap_err();
            assert_eq!(
                gap,
                Gap {
                    held: Revision(1),
                    offered: Revision(offered)
                }
            );
            assert_eq!(
                (state.revision, state.digest, &state.objects),
                (before.revision, before.digest, &before.objects)
            );
        }
        state.apply(&commit(2, vec![delete(Kind::Service, "web")])).unwrap();
        assert_eq!((state.revision, state.digest), (Revision(2), Digest::default()));
    }

    #[test]
    fn the_incremental_digest_is_the_recomputed_one() {
        let mut state = empty();
        let mut digests = std::collections::HashSet::new();
        for revision in 1..=200_u64 {
            let name = format!("s{}", revision * 7 % 11);
            let upstream = format!("{name}/127.0.0.1:{}", 1 + revision * 5 % 3);
            let ops = match revision % 6 {
                0 => vec![delete(Kind::Service, &name), delete(Kind::Upstream, &upstream)],
                1 => vec![delete(Kind::from("of-tomorrow"), &name), put(Kind::Member, &name, "{}")],
                2 => vec![
                    put(Kind::from("of-tomorrow"), &name, "{}"),
                    put(Kind::Upstream, &upstream, "{}"),
                ],
                3 => vec![put(Kind::Succession, &name, "{}"), delete(Kind::Member, &name)],
                _ => vec![
                    put(Kind::Service, &name, "{}"),
                    put(Kind::Upstream, &upstream, r#"{"weight":2}"#),
                ],
            };
            state.apply(&commit(revision, ops)).unwrap();
            assert_eq!(state.digest, recomputed(&state), "revision {revision}");
            digests.insert(state.digest);
        }
        assert!(digests.len() > 100);
        let keys: Vec<ObjectKey> = state.objects.keys().cloned().collect();
        state
            .apply(&commit(
                201,
                keys.iter().map(|key| delete(key.kind.clone(), &key.key)).collect(),
            ))
            .unwrap();
        assert_eq!((state.digest, state.objects.len()), (Digest::default(), 0));
    }

    #[test]
    fn the_roster_moves_the_head_but_not_the_configuration() {
        let mut state = empty();
        state.apply(&commit(1, vec![put(Kind::Service, "web", "{}")])).unwrap();
        let digest = state.digest;
        let epoch = Epoch(uuid::Uuid::from_u128(9));
        state
            .apply(&commit(2, vec![put(Kind::Member, "proxy-1", "{}")]))
            .unwrap();
        state
            .apply(&commit(3, vec![put(Kind::Succession, &epoch.to_string(), "{}")]))
            .unwrap();
        assert_eq!(
            (state.revision, state.configured, state.digest),
            (Revision(3), Revision(1), digest)
        );
        assert_eq!(state.succeeds(), [epoch]);
        state
            .apply(&commit(
                4,
                vec![
                    put(Kind::Member, "proxy-2", "{}"),
                    put(Kind::from("of-tomorrow"), "l", "{}"),
                ],
            ))
            .unwrap();
        assert_eq!(state.configured, Revision(4));
        assert_ne!(state.digest, digest);
    }

    #[test]
    fn a_registration_is_begun_by_its_revision_or_kept() {
        let mut state = empty();
        let key = ObjectKey::upstream("web", "a:1");
        state
            .apply(&commit(
                1,
                vec![put(Kind::Upstream, "web/a:1", "{}"), put(Kind::Service, "web", "{}")],
            ))
            .unwrap();
        let begun = state.digest;
        assert_eq!(state.get(&key).unwrap().registration, Some(Revision(1)));
        assert_eq!(state.get(&ObjectKey::service("web")).unwrap().registration, None);
        let mut kept = put(Kind::Upstream, "web/a:1", "{}");
        kept.registration = Some(Revision(1));
        state.apply(&commit(2, vec![kept])).unwrap();
        let object = state.get(&key).unwrap();
        assert_eq!((object.revision, object.registration), (Revision(2), Some(Revision(1))));
        assert_ne!(state.digest, begun);
        state
            .apply(&commit(3, vec![put(Kind::Upstream, "web/a:1", "{}")]))
            .unwrap();
        assert_eq!(state.get(&key).unwrap().registration, Some(Revision(3)));
        // A snapshot with one that is yet to begin could not be read.
        let mut ahead = put(Kind::Upstream, "web/a:1", "{}");
        ahead.registration = Some(Revision(9));
        state.apply(&commit(4, vec![ahead])).unwrap();
        assert_eq!(state.get(&key).unwrap().registration, Some(Revision(4)));
    }
}

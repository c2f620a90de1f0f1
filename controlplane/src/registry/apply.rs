//! Many objects at once: a document that says how they are to be, or a past state of them. What has to be done for it is
//! decided on a head like any other write, and is one revision, or several where it is too much for one.

mod faults;
mod order;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use net::problem::Problem;
use shared::change::{Body, Kind, ObjectKey, Op, Revision, Verb};
use shared::model::{Invalid, Upstream};
use shared::table::Cause;

use super::{before, decision, service, upstream};
use crate::changelog::{Decide, Decision, Head};
use faults::{Faults, joined, place};

/// How one object is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    pub body: Body,
    /// That its author took it from: it must be the object's still.
    pub revision: Option<Revision>,
}

/// What becomes of objects that are not named.
#[derive(Clone, Debug)]
pub enum Rest {
    Stays,
    Goes,
    /// It stands as it did there.
    AsIn(Arc<Head>),
}

/// How the configuration is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// In the order of their keys, each once. None: it is not to be there.
    objects: Vec<(ObjectKey, Option<Wish>)>,
    rest: Rest,
}

/// What a head lacks.
#[derive(Debug)]
pub struct Change {
    pub ops: Vec<Op>,
    /// The objects of each revision; one, where everything fits into one.
    pub revisions: Vec<Arc<[ObjectKey]>>,
}

/// What documents are about. Holds and revocations go with what they are of; the roster is not configuration.
fn is_applied(kind: &Kind) -> bool {
    matches!(kind, Kind::Service | Kind::Upstream | Kind::Authorizer | Kind::Limit)
}

impl Wanted {
    /// `None`: it is not to be there. Objects of other kinds are left out.
    pub fn of(objects: BTreeMap<ObjectKey, Option<Body>>, rest: Rest) -> Wanted {
        let wish = |body| Wish { body, revision: None };
        let objects = objects.into_iter().filter(|(key, _)| is_applied(&key.kind));
        Wanted {
            objects: objects.map(|(key, body)| (key, body.map(wish))).collect(),
            rest,
        }
    }

    pub fn objects(&self) -> &[(ObjectKey, Option<Wish>)] {
        &self.objects
    }

    /// Whether nothing is to be there but what it names.
    pub fn is_everything(&self) -> bool {
        matches!(self.rest, Rest::Goes)
    }

    /// What `head` lacks, or why that cannot be done there. Costs a look at every object.
    pub fn change(&self, head: &Head) -> Result<Change, Box<Problem>> {
        let named = self.objects.iter().map(|(key, _)| key);
        let others: Box<dyn Iterator<Item = &ObjectKey>> = match &self.rest {
            Rest::Stays => Box::new(std::iter::empty()),
            Rest::Goes => Box::new(head.state.objects.keys()),
            Rest::AsIn(then) => Box::new(head.state.changed_since(&then.state)),
        };
        let others = others.filter(|key| is_applied(&key.kind) && self.wish(key).is_none());
        let ops = self.decide(head, named.chain(others))?;
        let revisions = order::cut(head, &ops)?;
        Ok(Change { ops, revisions })
    }

    /// All of it, exactly as it would be decided at the head that it comes to: what has changed since `planned`, where
    /// no more than `keys` was lacking, is looked at again.
    pub fn whole(self: &Arc<Wanted>, planned: Arc<Head>, keys: Arc<[ObjectKey]>) -> Decide {
        let wanted = self.clone();
        decision(move |head| {
            let mut all: BTreeSet<&ObjectKey> = keys.iter().collect();
            if head.state.configured != planned.state.configured {
                all.extend(head.state.changed_since(&planned.state));
            }
            wanted.decide(head, all.into_iter()).map(appended)
        })
    }

    /// One of several revisions.
    pub fn part(self: &Arc<Wanted>, keys: Arc<[ObjectKey]>) -> Decide {
        let wanted = self.clone();
        decision(move |head| wanted.decide(head, keys.iter()).map(appended))
    }

    /// None: nothing is said of it. Some(None): it is not to be there.
    fn wish(&self, key: &ObjectKey) -> Option<Option<&Wish>> {
        let at = self.objects.binary_search_by(|(held, _)| held.cmp(key)).ok()?;
        Some(self.objects[at].1.as_ref())
    }

    /// What has to be done of `keys`, in their order; an error names everything that is wrong.
    fn decide<'a>(
        &'a self,
        head: &'a Head,
        keys: impl Iterator<Item = &'a ObjectKey>,
    ) -> Result<Vec<Op>, Box<Problem>> {
        let mut draft = Draft {
            head,
            ops: BTreeMap::new(),
            faults: Faults::default(),
        };
        for key in keys.filter(|key| is_applied(&key.kind)) {
            match (self.wish(key), &self.rest) {
                (Some(Some(wish)), _) => draft.put(key, &wish.body, wish.revision),
                (Some(None), _) | (None, Rest::Goes) => draft.delete(key),
                (None, Rest::Stays) => {}
                (None, Rest::AsIn(then)) => match then.state.get(key) {
                    Some(stood) => draft.put(key, &stood.body, None),
                    None => draft.delete(key),
                },
            }
        }
        draft.finish()
    }
}

fn appended(ops: Vec<Op>) -> Decision {
    match ops.is_empty() {
        true => Decision::Nothing,
        false => Decision::Append(ops),
    }
}

/// Operations on a head while they are gathered.
struct Draft<'a> {
    head: &'a Head,
    ops: BTreeMap<ObjectKey, Op>,
    faults: Faults,
}

impl Draft<'_> {
    fn put(&mut self, key: &ObjectKey, body: &Body, said: Option<Revision>) {
        let current = self.head.state.get(key);
        let is = current.map(|current| current.revision);
        if said.is_some() && said != is {
            let is = is.map_or("there is no such object yet".to_owned(), |is| format!("it is {is}"));
            self.faults.invalid(&place(key), Invalid::field("revision", is));
            return;
        }
        if current.is_some_and(|current| current.body == *body) {
            return;
        }
        let registration = match (current, key.upstream_parts()) {
            (Some(current), Some((service, id))) => match Upstream::parse(service, id, body.as_str()) {
                Ok(new) => match upstream::kept(current, &new) {
                    Ok(kept) => kept,
                    Err(problem) => return self.faults.conflict(place(key), problem.detail, &key.to_string()),
                },
                Err(invalid) => return self.faults.invalid(&place(key), invalid),
            },
            _ => None,
        };
        let op = Op {
            verb: Verb::Put,
            kind: key.kind.clone(),
            key: key.key.clone(),
            body: Some(body.clone()),
            registration,
            before: current.map(|current| before(current)),
        };
        self.ops.insert(key.clone(), op);
    }

    /// With what cannot be without it.
    fn delete(&mut self, key: &ObjectKey) {
        if self.head.state.get(key).is_none() {
            return;
        }
        match key.kind {
            Kind::Service => {
                let hold = ObjectKey::hold(&key.key);
                service::upstreams(self.head, &key.key).for_each(|key| self.take_out(key));
                self.take_out(&hold);
            }
            Kind::Authorizer => self.take_out(&ObjectKey::revocation(&key.key)),
            _ => {}
        }
        self.take_out(key);
    }

    fn take_out(&mut self, key: &ObjectKey) {
        let Some(current) = self.head.state.get(key) else {
            return;
        };
        let op = Op {
            verb: Verb::Delete,
            kind: key.kind.clone(),
            key: key.key.clone(),
            body: None,
            registration: None,
            before: Some(before(current)),
        };
        self.ops.insert(key.clone(), op);
    }

    fn finish(mut self) -> Result<Vec<Op>, Box<Problem>> {
        self.check_references();
        let ops: Vec<Op> = self.ops.into_values().collect();
        let refused = self.head.table.apply(&ops, self.head.state.revision.next()).refused;
        let written: HashSet<ObjectKey> = match refused.is_empty() {
            true => HashSet::new(),
            false => ops.iter().filter(|op| op.verb == Verb::Put).map(Op::object).collect(),
        };
        for refusal in refused.into_iter().filter(|refusal| written.contains(&refusal.object)) {
            let at = place(&refusal.object);
            match refusal.cause {
                Cause::Invalid(invalid) => self.faults.invalid(&at, invalid),
                Cause::Conflict { with, field } | Cause::Taken { with, field } => {
                    let held = format!("service {with} holds it already");
                    self.faults.conflict(joined(&at, &field), held, with.as_str());
                }
                // Said of its service already.
                Cause::Orphan => {}
                cause @ Cause::UnknownKind => self.faults.invalid(&at, Invalid::field("", cause)),
            }
        }
        self.faults.finish()?;
        Ok(ops)
    }

    /// Whether it is there when all is done.
    fn stands(&self, key: &ObjectKey) -> bool {
        match self.ops.get(key) {
            Some(op) => op.verb == Verb::Put,
            None => self.head.state.get(key).is_some(),
        }
    }

    fn check_references(&mut self) {
        let mut dangling = Vec::new();
        let mut gone = HashSet::new();
        for (key, op) in &self.ops {
            match reference(op) {
                Some((field, needed)) if !self.stands(&needed) => dangling.push((key.clone(), field, needed)),
                _ if op.verb == Verb::Delete => drop(gone.insert(key)),
                _ => {}
            }
        }
        // What stays as it is may have lost what it needs.
        let has = |kind: Kind| gone.iter().any(|key| key.kind == kind);
        if has(Kind::Service) {
            for authority in self.head.table.authorities() {
                let key = ObjectKey::authorizer(authority.authorizer.name.as_str());
                let needed = ObjectKey::service(authority.authorizer.service.as_str());
                if gone.contains(&needed) && !self.ops.contains_key(&key) {
                    dangling.push((key, "service", needed));
                }
            }
        }
        if has(Kind::Authorizer) {
            for entry in self.head.table.entries() {
                let Some(name) = &entry.service.authorizer else {
                    continue;
                };
                let key = ObjectKey::service(entry.service.name.as_str());
                let needed = ObjectKey::authorizer(name.as_str());
                if gone.contains(&needed) && !self.ops.contains_key(&key) {
                    dangling.push((key, "authorizer", needed));
                }
            }
        }
        for (key, field, needed) in dangling {
            let invalid = Invalid::field(field, format_args!("{needed} does not exist"));
            self.faults.invalid(&place(&key), invalid);
        }
    }
}

/// What an object that is put cannot be without, and the field that says so.
fn reference(op: &Op) -> Option<(&'static str, ObjectKey)> {
    let body = op.body.as_ref()?;
    let member = |name: &str| {
        let value: serde_json::Value = serde_json::from_str(body.as_str()).ok()?;
        value.get(name)?.as_str().map(str::to_owned)
    };
    match op.kind {
        Kind::Service => Some(("authorizer", ObjectKey::authorizer(&member("authorizer")?))),
        Kind::Authorizer => Some(("service", ObjectKey::service(&member("service")?))),
        Kind::Upstream => Some(("", ObjectKey::service(op.key.split_once('/')?.0))),
        _ => None,
    }
}

use net::problem::{self, Problem};
use shared::change::{Kind, ObjectKey, Op, Revision, Verb};
use shared::model::{Hold, Invalid, ServiceName};
use shared::stream::message::HELD_MAX;

use super::{Conditions, Decided, Document, before, check, decision, delete_all, existing};
use crate::changelog::{Decide, Decision, Head};

/// Holds a service. One that is held already is held anew: its time begins again, and other conditions may be waited for.
pub fn begin(service: &ServiceName, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let hold = Hold::from_value(&document.value)?;
    let (service, key) = keys(service);
    Ok(decision(move |head| {
        existing(head, &service)?;
        check(head, &key, &conditions, Some(&document))?;
        put(head, &key, &hold)
    }))
}

/// Resumes a service, held or not.
pub fn end(service: &ServiceName, conditions: Conditions) -> Decide {
    let (service, key) = keys(service);
    decision(move |head| {
        existing(head, &service)?;
        check(head, &key, &conditions, None)?;
        Ok(delete_all(head, std::iter::once(&key)))
    })
}

/// Resumes a service whose hold of that very revision has lasted for as long as it may. Of several that decide so one
/// appends.
pub fn expire(service: &str, revision: Revision) -> Decide {
    let key = ObjectKey::hold(service);
    decision(move |head| {
        let stands = head.state.get(&key).is_some_and(|held| held.revision == revision);
        let ended = stands.then_some(&key);
        Ok(delete_all(head, ended.into_iter()))
    })
}

fn keys(service: &ServiceName) -> (ObjectKey, ObjectKey) {
    let name = service.as_str();
    (ObjectKey::service(name), ObjectKey::hold(name))
}

fn put(head: &Head, key: &ObjectKey, hold: &Hold) -> Decided {
    let current = head.state.get(key);
    if current.is_none() && held(head).count() >= HELD_MAX {
        let detail = format!("{HELD_MAX} services are held already");
        return Err(Box::new(Problem::new(problem::CONFLICT, detail)));
    }
    Ok(Decision::Append(vec![Op {
        verb: Verb::Put,
        kind: Kind::Hold,
        key: key.key.clone(),
        body: Some(hold.body()),
        registration: None,
        before: current.map(|current| before(current)),
    }]))
}

fn held(head: &Head) -> impl Iterator<Item = &ObjectKey> {
    let from = ObjectKey::hold("");
    let keys = head.state.objects.range(from..).map(|(key, _)| key);
    keys.take_while(|key| key.kind == Kind::Hold)
}

use net::problem::{self, Problem};
use shared::change::{ObjectKey, Op, Verb};
use shared::model::{Authorizer, AuthorizerName, Invalid, Revocation};
use uuid::Uuid;

use super::{Conditions, Decided, Document, before, check, decision, delete_all, existing, put, refused, stored};
use crate::changelog::{Decide, Decision, Head};

/// Creates or replaces an authorizer.
pub fn replace(name: &AuthorizerName, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let authorizer = Authorizer::from_value(name.as_str(), &document.value)?;
    let key = ObjectKey::authorizer(name.as_str());
    Ok(decision(move |head| {
        check(head, &key, &conditions, Some(&document))?;
        set(head, &key, &authorizer)
    }))
}

/// `document` is a merge patch.
pub fn patch(name: &AuthorizerName, document: Document, conditions: Conditions) -> Decide {
    let key = ObjectKey::authorizer(name.as_str());
    decision(move |head| {
        let stored = stored(head, &key, &document, &conditions)?;
        let authorizer = Authorizer::patched(&key.key, stored, &document.value).map_err(refused)?;
        set(head, &key, &authorizer)
    })
}

/// Deletes one that no service uses, with what was revoked there.
pub fn remove(name: &AuthorizerName, conditions: Conditions) -> Decide {
    let key = ObjectKey::authorizer(name.as_str());
    let name = name.clone();
    decision(move |head| {
        check(head, &key, &conditions, None)?;
        let mut entries = head.table.entries();
        if let Some(user) = entries.find(|entry| entry.service.authorizer.as_ref() == Some(&name)) {
            return Err(in_use(&key, &ObjectKey::service(user.service.name.as_str())));
        }
        Ok(delete_all(head, [&ObjectKey::revocation(&key.key), &key].into_iter()))
    })
}

/// Every one is a revision of its own, whatever was revoked before it. `id` is of this one alone.
pub fn revoke(name: &AuthorizerName, revocation: &Revocation, id: Uuid) -> Decide {
    let key = ObjectKey::authorizer(name.as_str());
    let body = revocation.body(id);
    decision(move |head| {
        existing(head, &key)?;
        let key = ObjectKey::revocation(&key.key);
        let last = head.state.get(&key).map(|last| before(last));
        Ok(Decision::Append(vec![Op {
            verb: Verb::Put,
            kind: key.kind,
            key: key.key,
            body: Some(body.clone()),
            registration: None,
            before: last,
        }]))
    })
}

/// The authorizer that asks a service, if there is one.
pub fn asking(head: &Head, service: &str) -> Option<ObjectKey> {
    let mut authorities = head.table.authorities();
    let found = authorities.find(|authority| authority.authorizer.service.as_str() == service)?;
    Some(ObjectKey::authorizer(found.authorizer.name.as_str()))
}

/// Refuses to take away what `user` cannot do without.
pub fn in_use(key: &ObjectKey, user: &ObjectKey) -> Box<Problem> {
    let problem = Problem::new(problem::CONFLICT, format!("{user} uses {key}"));
    Box::new(problem.with("with", user.to_string()))
}

fn set(head: &Head, key: &ObjectKey, authorizer: &Authorizer) -> Decided {
    let service = ObjectKey::service(authorizer.service.as_str());
    if head.state.get(&service).is_none() {
        return Err(refused(Invalid::field(
            "service",
            format_args!("{service} does not exist"),
        )));
    }
    put(head, key, authorizer.body(), None)
}

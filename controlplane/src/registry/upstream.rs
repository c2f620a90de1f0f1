use net::problem::{self, Problem};
use shared::change::{ObjectKey, Revision};
use shared::model::{Invalid, ServiceName, Upstream, UpstreamId, UpstreamState};
use shared::state::Object;

use super::{Conditions, Decided, Document, check, decision, delete_all, existing, put, refused, stored};
use crate::changelog::{Decide, Head};
use crate::heartbeats::Registration;

/// Registers an upstream, or changes one.
pub fn replace(
    service: &ServiceName,
    id: &UpstreamId,
    document: Document,
    conditions: Conditions,
) -> Result<Decide, Invalid> {
    let upstream = Upstream::from_value(service.as_str(), id.as_str(), &document.value)?;
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    let owner = ObjectKey::service(service.as_str());
    Ok(decision(move |head| {
        existing(head, &owner)?;
        check(head, &key, &conditions, Some(&document))?;
        register(head, &key, &with_unsaid(head, &upstream, &document))
    }))
}

/// A heartbeat says that its server lives, not what an operator wanted of it meanwhile: where both the registration that
/// stands and the one that is sent have a `ttl`, and the same address, a `weight` and a `state` that are not said stay.
fn with_unsaid(head: &Head, sent: &Upstream, document: &Document) -> Upstream {
    let mut upstream = sent.clone();
    let entry = head.table.entry(sent.service.as_str());
    let stands = entry.and_then(|entry| entry.upstreams.get(sent.id.as_str()));
    let Some(stands) = stands.map(|registered| &registered.upstream) else {
        return upstream;
    };
    if stands.ttl.is_some() && sent.ttl.is_some() && stands.address == sent.address {
        if document.value.get("weight").is_none() {
            upstream.weight = stands.weight;
        }
        if document.value.get("state").is_none() {
            upstream.state = stands.state;
        }
    }
    upstream
}

/// The registration that stands, if this PUT repeats it and asks for nothing else.
pub fn repeated(
    head: &Head,
    upstream: &Upstream,
    document: &Document,
    conditions: &Conditions,
) -> Option<Registration> {
    let key = ObjectKey::upstream(upstream.service.as_str(), upstream.id.as_str());
    let body = with_unsaid(head, upstream, document).body();
    let revision = head.state.get(&key).filter(|object| object.body == body)?.revision;
    let agrees = document.agrees(Some(revision)).is_ok() && conditions.hold(Some(revision));
    agrees.then(|| Registration::new(&upstream.service.shared(), &upstream.id.shared(), revision))
}

/// `document` is a merge patch.
pub fn patch(service: &ServiceName, id: &UpstreamId, document: Document, conditions: Conditions) -> Decide {
    let (service, id) = (service.clone(), id.clone());
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    decision(move |head| {
        let stored = stored(head, &key, &document, &conditions)?;
        let upstream = Upstream::patched(service.as_str(), id.as_str(), stored, &document.value).map_err(refused)?;
        register(head, &key, &upstream)
    })
}

/// Unregisters those that stand as they stood when they fell silent.
pub fn expire(silent: Vec<Registration>) -> Decide {
    decision(move |head| {
        let key = |silent: &Registration| ObjectKey::upstream(&silent.service, &silent.id);
        let stands = |silent: &&Registration| {
            let object = head.state.get(&key(silent));
            object.is_some_and(|object| object.revision == silent.revision)
        };
        let keys: Vec<ObjectKey> = silent.iter().filter(stands).map(key).collect();
        Ok(delete_all(head, keys.iter()))
    })
}

/// Unregisters an upstream; of a service that is absent, too.
pub fn remove(service: &ServiceName, id: &UpstreamId, conditions: Conditions) -> Decide {
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    decision(move |head| {
        check(head, &key, &conditions, None)?;
        Ok(delete_all(head, [&key].into_iter()))
    })
}

fn register(head: &Head, key: &ObjectKey, upstream: &Upstream) -> Decided {
    let registration = match head.state.get(key) {
        Some(current) => kept(current, upstream)?,
        None => None,
    };
    put(head, key, upstream.body(), registration)
}

/// The registration that goes on under the new form. None: another address, or active again after draining, begins a new
/// one, and the old one drains.
pub fn kept(current: &Object, new: &Upstream) -> Result<Option<Revision>, Box<Problem>> {
    let old = Upstream::parse(new.service.as_str(), new.id.as_str(), current.body.as_str()).map_err(|invalid| {
        let detail = format!("what is stored cannot be read by this version: {invalid}");
        Problem::new(problem::CONFLICT, detail)
    })?;
    let revived = old.state == UpstreamState::Draining && new.state == UpstreamState::Active;
    Ok(current.registration.filter(|_| old.address == new.address && !revived))
}

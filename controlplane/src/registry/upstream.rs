use net::problem::{self, Problem};
use shared::change::{ObjectKey, Revision};
use shared::model::{Invalid, ServiceName, Upstream, UpstreamId, UpstreamState};
use shared::state::Object;

use super::{Conditions, Decided, Document, check, decision, delete_all, existing, put, refused, stored};
use crate::changelog::{Decide, Head};

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
        register(head, &key, &upstream)
    }))
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

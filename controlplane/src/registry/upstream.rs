use std::sync::Arc;

use net::problem::{self, Problem};
use shared::change::{ObjectKey, Revision};
use shared::model::{Invalid, ServiceName, Upstream, UpstreamId, UpstreamState};
use shared::state::Object;

use super::service::{absent_or_failed, agree};
use super::{Conditions, Document, absent, check, delete, patched, put, refuse};
use crate::changelog::{Decide, Decision, Head};

/// Registers an upstream, or changes one.
pub fn replace(
    service: &ServiceName,
    id: &UpstreamId,
    document: Document,
    conditions: Conditions,
) -> Result<Decide, Invalid> {
    let upstream = Upstream::from_value(service.as_str(), id.as_str(), &document.value)?;
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    Ok(Arc::new(move |head| {
        let decide = || {
            owned(head, &upstream.service)?;
            check(&conditions, head, &key)?;
            agree(&document, head, &key)?;
            Ok(register(head, &key, &upstream))
        };
        decide().unwrap_or_else(|refused: Decision| refused)
    }))
}

/// `document` is a merge patch.
pub fn patch(service: &ServiceName, id: &UpstreamId, document: Document, conditions: Conditions) -> Decide {
    let (service, id) = (service.clone(), id.clone());
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    Arc::new(move |head| {
        let decide = || {
            let current = head
                .state
                .get(&key)
                .ok_or_else(|| absent_or_failed(&conditions, head, &key))?;
            check(&conditions, head, &key)?;
            agree(&document, head, &key)?;
            let value = patched(current, &document.value).map_err(refuse)?;
            let upstream = Upstream::from_value(service.as_str(), id.as_str(), &value)
                .map_err(|invalid| refuse(Problem::from(invalid)))?;
            Ok(register(head, &key, &upstream))
        };
        decide().unwrap_or_else(|refused: Decision| refused)
    })
}

/// Unregisters an upstream; of a service that is absent, too.
pub fn remove(service: &ServiceName, id: &UpstreamId, conditions: Conditions) -> Decide {
    let key = ObjectKey::upstream(service.as_str(), id.as_str());
    Arc::new(
        move |head| match (check(&conditions, head, &key), head.state.get(&key)) {
            (Err(refused), _) => refused,
            (Ok(()), Some(current)) => Decision::Append(vec![delete(&key, current)]),
            (Ok(()), None) => Decision::Nothing,
        },
    )
}

fn owned(head: &Head, service: &ServiceName) -> Result<(), Decision> {
    let key = ObjectKey::service(service.as_str());
    match head.state.get(&key) {
        Some(_) => Ok(()),
        None => Err(absent(&key)),
    }
}

fn register(head: &Head, key: &ObjectKey, upstream: &Upstream) -> Decision {
    let registration = head.state.get(key).map(|current| kept(current, upstream)).transpose();
    match registration {
        Ok(registration) => put(head, key, upstream.body(), registration.flatten()),
        Err(refused) => refused,
    }
}

/// The registration that goes on under the new form. None: another address, or active again after draining, begins a new
/// one, and the old one drains.
fn kept(current: &Arc<Object>, new: &Upstream) -> Result<Option<Revision>, Decision> {
    let old = Upstream::parse(new.service.as_str(), new.id.as_str(), current.body.as_str()).map_err(|invalid| {
        let detail = format!("what is stored cannot be read by this version: {invalid}");
        refuse(Problem::new(problem::CONFLICT, detail))
    })?;
    let revived = old.state == UpstreamState::Draining && new.state == UpstreamState::Active;
    Ok(current.registration.filter(|_| old.address == new.address && !revived))
}

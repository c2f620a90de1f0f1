use std::sync::Arc;

use net::problem::Problem;
use shared::change::{Kind, ObjectKey};
use shared::model::{Invalid, Service, ServiceName};

use super::{Conditions, Document, absent, check, delete, patched, put, refuse};
use crate::changelog::{Decide, Decision, Head};

/// Creates or replaces a service.
pub fn replace(name: &ServiceName, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let body = Service::from_value(name.as_str(), &document.value)?.body();
    let key = ObjectKey::service(name.as_str());
    Ok(Arc::new(move |head| {
        let decide = || {
            check(&conditions, head, &key)?;
            agree(&document, head, &key)?;
            Ok(put(head, &key, body.clone(), None))
        };
        decide().unwrap_or_else(|refused: Decision| refused)
    }))
}

/// `document` is a merge patch.
pub fn patch(name: &ServiceName, document: Document, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    Arc::new(move |head| {
        let decide = || {
            let current = head
                .state
                .get(&key)
                .ok_or_else(|| absent_or_failed(&conditions, head, &key))?;
            check(&conditions, head, &key)?;
            agree(&document, head, &key)?;
            let value = patched(current, &document.value).map_err(refuse)?;
            let service = Service::from_value(&key.key, &value).map_err(|invalid| refuse(invalid.into()))?;
            Ok(put(head, &key, service.body(), None))
        };
        decide().unwrap_or_else(|refused: Decision| refused)
    })
}

/// Deletes a service with its upstreams.
pub fn remove(name: &ServiceName, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    Arc::new(move |head| {
        if let Err(refused) = check(&conditions, head, &key) {
            return refused;
        }
        let mut ops: Vec<_> = upstreams(head, &key.key)
            .filter_map(|upstream| Some(delete(upstream, head.state.get(upstream)?)))
            .collect();
        if let Some(current) = head.state.get(&key) {
            ops.push(delete(&key, current));
        }
        match ops.is_empty() {
            true => Decision::Nothing,
            false => Decision::Append(ops),
        }
    })
}

/// The keys of a service's upstreams, in order.
pub fn upstreams<'a>(head: &'a Head, service: &str) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
    let prefix = format!("{service}/");
    let from = ObjectKey {
        kind: Kind::Upstream,
        key: prefix.as_str().into(),
    };
    let keys = head.state.objects.range(from..).map(|(key, _)| key);
    keys.take_while(move |key| key.kind == Kind::Upstream && key.key.starts_with(&prefix))
}

pub(super) fn agree(document: &Document, head: &Head, key: &ObjectKey) -> Result<(), Decision> {
    let current = head.state.get(key).map(|object| object.revision);
    document
        .agrees(current)
        .map_err(|invalid| refuse(Problem::from(invalid)))
}

/// An If-Match fails on what is absent, and says so rather than that it is absent.
pub(super) fn absent_or_failed(conditions: &Conditions, head: &Head, key: &ObjectKey) -> Decision {
    check(conditions, head, key).err().unwrap_or_else(|| absent(key))
}

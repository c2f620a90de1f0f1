use shared::change::{Kind, ObjectKey};
use shared::model::{Invalid, Service, ServiceName};

use super::{Conditions, Document, check, decision, delete_all, put, refused, stored};
use crate::changelog::{Decide, Head};

/// Creates or replaces a service.
pub fn replace(name: &ServiceName, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let body = Service::from_value(name.as_str(), &document.value)?.body();
    let key = ObjectKey::service(name.as_str());
    Ok(decision(move |head| {
        check(head, &key, &conditions, Some(&document))?;
        put(head, &key, body.clone(), None)
    }))
}

/// `document` is a merge patch.
pub fn patch(name: &ServiceName, document: Document, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    decision(move |head| {
        let stored = stored(head, &key, &document, &conditions)?;
        let service = Service::patched(&key.key, stored, &document.value).map_err(refused)?;
        put(head, &key, service.body(), None)
    })
}

/// Deletes a service with its upstreams.
pub fn remove(name: &ServiceName, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    decision(move |head| {
        check(head, &key, &conditions, None)?;
        Ok(delete_all(head, upstreams(head, &key.key).chain([&key])))
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

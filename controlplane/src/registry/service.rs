use shared::change::{Kind, ObjectKey};
use shared::model::{Invalid, Service, ServiceName};

use super::authorizer::{asking, in_use};
use super::{Conditions, Decided, Document, check, decision, delete_all, put, refused, stored};
use crate::changelog::{Decide, Head};

/// Creates or replaces a service.
pub fn replace(name: &ServiceName, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let service = Service::from_value(name.as_str(), &document.value)?;
    let key = ObjectKey::service(name.as_str());
    Ok(decision(move |head| {
        check(head, &key, &conditions, Some(&document))?;
        set(head, &key, &service)
    }))
}

/// `document` is a merge patch.
pub fn patch(name: &ServiceName, document: Document, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    decision(move |head| {
        let stored = stored(head, &key, &document, &conditions)?;
        let service = Service::patched(&key.key, stored, &document.value).map_err(refused)?;
        set(head, &key, &service)
    })
}

/// Deletes a service with its upstreams and its hold, unless an authorizer asks it.
pub fn remove(name: &ServiceName, conditions: Conditions) -> Decide {
    let key = ObjectKey::service(name.as_str());
    decision(move |head| {
        check(head, &key, &conditions, None)?;
        if let Some(user) = asking(head, &key.key) {
            return Err(in_use(&key, &user));
        }
        let hold = ObjectKey::hold(&key.key);
        Ok(delete_all(head, upstreams(head, &key.key).chain([&hold, &key])))
    })
}

fn set(head: &Head, key: &ObjectKey, service: &Service) -> Decided {
    let authorizer = service
        .authorizer
        .as_ref()
        .map(|name| ObjectKey::authorizer(name.as_str()));
    if let Some(authorizer) = authorizer.filter(|authorizer| head.state.get(authorizer).is_none()) {
        let detail = format_args!("{authorizer} does not exist");
        return Err(refused(Invalid::field("authorizer", detail)));
    }
    put(head, key, service.body(), None)
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

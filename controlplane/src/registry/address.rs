//! Whatever is registered at one address, in all services.

use std::sync::Arc;

use shared::change::ObjectKey;
use shared::model::Address;

use super::delete;
use crate::changelog::{Decide, Decision, Head};

/// The registrations at an address, in the order of their keys.
pub fn registrations(head: &Head, address: &Address) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> = head
        .table
        .at(address)
        .map(|(service, id)| ObjectKey::upstream(service.as_str(), id.as_str()))
        .collect();
    keys.sort_unstable();
    keys
}

/// Unregisters them all in one revision.
pub fn remove(address: &Address) -> Decide {
    let address = address.clone();
    Arc::new(move |head| {
        let keys = registrations(head, &address);
        let ops: Vec<_> = keys
            .iter()
            .filter_map(|key| Some(delete(key, head.state.get(key)?)))
            .collect();
        match ops.is_empty() {
            true => Decision::Nothing,
            false => Decision::Append(ops),
        }
    })
}

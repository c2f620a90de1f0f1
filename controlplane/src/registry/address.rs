//! Whatever is registered at one address, in all services.

use shared::change::ObjectKey;
use shared::model::Address;

use super::{decision, delete_all};
use crate::changelog::{Decide, Head};

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
    decision(move |head| {
        let keys = registrations(head, &address);
        Ok(delete_all(head, keys.iter()))
    })
}

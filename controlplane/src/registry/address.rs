//! Whatever is registered at one address, in all services.

use net::problem::{self, Problem};
use shared::change::ObjectKey;
use shared::model::Address;

use super::scope::Scope;
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

/// Unregisters them all in one revision. `scope`: the services that all of them must be of.
pub fn remove(address: &Address, scope: Option<Scope>) -> Decide {
    let address = address.clone();
    decision(move |head| {
        let keys = registrations(head, &address);
        if let Some(scope) = &scope
            && !keys.iter().all(|key| scope.has_upstream(&key.key))
        {
            // Whose they are is not for the caller to know.
            let detail = format!("not everything at {address} is of {scope}, which is what this token is for");
            return Err(Box::new(
                Problem::new(problem::FORBIDDEN, detail).with("committed", false),
            ));
        }
        Ok(delete_all(head, keys.iter()))
    })
}

//! The routing table: a fold of the configuration that answers which service a request goes to.
//!
//! Everything is a persistent map: a clone is O(1) and a change copies a path through a tree, never the table.

mod apply;
mod entry;
mod query;
mod refusal;

use std::sync::Arc;

use imbl::{HashMap, OrdMap};

pub use apply::Applied;
pub use entry::{Entry, Registered};
pub use query::{Headers, Query};
pub use refusal::{Cause, Refusal};

use crate::change::ObjectKey;
use crate::model::{Address, ServiceName, UpstreamId};

#[derive(Clone, Default)]
pub struct Table {
    services: HashMap<ServiceName, Arc<Entry>>,
    /// Every registration by its address: one ordered map, since most addresses have a single one.
    addresses: OrdMap<(Address, ServiceName, UpstreamId), ()>,
    /// Objects whose last operation was refused, until one that is accepted or their deletion.
    refused: OrdMap<ObjectKey, Refusal>,
}

impl Table {
    /// The service that a request goes to, by the order of matches; none for a path that `path::normalise` refuses.
    pub fn route(&self, query: &Query<'_>) -> Option<&Arc<Entry>> {
        let _ = query;
        None
    }

    pub fn entry(&self, service: &str) -> Option<&Arc<Entry>> {
        self.services.get(service)
    }

    /// In no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.services.values()
    }

    /// Every registration of an address, ordered by service and id.
    pub fn at<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = (&'a ServiceName, &'a UpstreamId)> {
        self.addresses
            .keys()
            .filter(move |(at, _, _)| at == address)
            .map(|(_, service, id)| (service, id))
    }

    /// What stands refused now, with the revision that was refused.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.values()
    }
}

//! The routing table: a fold of the configuration that answers which service a request goes to, and which limits it counts
//! for.
//!
//! Everything is a persistent map: a clone is O(1) and a change copies a path through a tree, never the table.

mod apply;
mod authority;
mod claims;
mod conditions;
mod entry;
pub mod explain;
mod holds;
mod hosts;
mod index;
mod limits;
mod paths;
mod query;
mod recipients;
mod refusal;
mod rule;
mod services;
#[cfg(test)]
mod tests;
mod upstreams;

use std::sync::Arc;

use imbl::OrdMap;

pub use apply::Applied;
pub use authority::Authority;
pub use entry::{Entry, Registered};
pub use explain::{Candidate, Explained};
pub use holds::Held;
pub use limits::{Asked, InForce, Matching};
pub use query::{Headers, Query};
pub use refusal::{Cause, Refusal};
pub use rule::Edge;

use crate::change::ObjectKey;
use crate::model::{Address, ServiceName, UpstreamId, host, path};
use authority::Authorities;
use claims::Claims;
use entry::Entries;
use holds::Holds;
use hosts::Hosts;
use limits::Limits;
use recipients::Recipients;
use upstreams::Upstreams;

#[derive(Clone, Debug, Default)]
pub struct Table {
    services: Entries,
    hosts: Hosts,
    claims: Claims,
    recipients: Recipients,
    upstreams: Upstreams,
    authorities: Authorities,
    holds: Holds,
    limits: Limits,
    refused: OrdMap<ObjectKey, Refusal>,
}

impl Table {
    /// The service that a request goes to. Which match wins, over all matches of all services: exact host before the
    /// longest wildcard before any; then higher priority; regex before prefix; longer prefix; more headers; named
    /// methods before any; then the service's name. None also for a path that `path::normalise` refuses.
    ///
    /// Allocates nothing for a host in lower case and a path without escapes. The cost grows with the depth of the path,
    /// with the regexes of the hosts that match, and with the names of headers that matches at the path ask for, not
    /// with the number of services.
    pub fn route(&self, query: &Query<'_>) -> Option<&Arc<Entry>> {
        let path = path::normalise(query.path).ok()?;
        let host = host::canonical(query.host);
        let rule = self.hosts.find(&host, &path, query)?;
        self.services.at(rule.slot())
    }

    pub fn entry(&self, service: &str) -> Option<&Arc<Entry>> {
        self.services.get(service)
    }

    /// In no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.services.iter()
    }

    /// Every registration of an address, ordered by service and id.
    pub fn at(&self, address: &Address) -> impl Iterator<Item = (&ServiceName, &UpstreamId)> {
        self.upstreams
            .at(address)
            .map(|upstream| (&upstream.service, &upstream.id))
    }

    /// What stands refused now: objects whose last operation was refused, until one that is accepted, or their deletion.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.values()
    }
}

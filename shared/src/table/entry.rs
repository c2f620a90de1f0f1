//! What the table holds of a service.

use std::sync::Arc;

use imbl::OrdMap;

use crate::change::Revision;
use crate::model::{Service, Upstream, UpstreamId};

/// A service and the upstreams registered with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub service: Arc<Service>,
    /// Of the service's last accepted change.
    pub revision: Revision,
    pub upstreams: OrdMap<UpstreamId, Arc<Registered>>,
}

/// An upstream as it stands. A new registration is a new identity to whoever drains or counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub upstream: Upstream,
    /// Of its last accepted change.
    pub revision: Revision,
    /// The revision that began this registration.
    pub registration: Revision,
}

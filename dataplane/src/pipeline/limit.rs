use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Balance, Service};

use super::{Authorized, RequestMeta, Verdict, affinity};

/// A request that has been counted where it counts, and may be sent to an upstream, as often as its retries allow.
pub struct Admitted {
    authorized: Authorized,
    /// By what its upstream is chosen, if it has a say in that.
    key: Option<u64>,
}

/// There are no limits yet, so that nothing is counted.
pub async fn limit(authorized: Authorized, meta: &RequestMeta<'_>) -> Result<Admitted, Verdict> {
    let key = match &authorized.service().balance {
        Balance::ConsistentHash { header } => meta.headers.header(header).map(affinity::hash),
        Balance::LeastRequest | Balance::RoundRobin | Balance::Random => None,
    };
    Ok(Admitted { authorized, key })
}

impl Admitted {
    pub fn service(&self) -> &Arc<Service> {
        self.authorized.service()
    }

    pub(super) fn key(&self) -> Option<u64> {
        self.key
    }

    pub(super) fn revision(&self) -> Revision {
        self.authorized.revision()
    }
}

use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Balance, Service};

use super::{Authorized, RequestMeta, Verdict, affinity};
use crate::authorizer::Grant;
use crate::view::View;

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

    /// What its authorizer gave it; none where nobody had to be asked.
    pub fn grant(&self) -> Option<&Grant> {
        self.authorized.grant()
    }

    /// Names of fields that are the authorizer's to write, whether it did or not.
    pub fn copied(&self) -> &[Arc<str>] {
        self.authorized.copied()
    }

    /// Whether it would be admitted on this view as well: the service and its authorizer are what they were, and nothing
    /// was revoked.
    pub fn is_of(&self, view: &View) -> bool {
        let pool = view.pool(&self.service().name);
        pool.is_some_and(|pool| pool.revision() == self.revision()) && self.authorized.is_of(view)
    }

    fn revision(&self) -> Revision {
        self.authorized.revision()
    }
}

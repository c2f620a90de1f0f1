use std::sync::Arc;

use shared::change::Revision;
use shared::model::Service;

use super::{Authorized, RequestMeta, Verdict};

/// A request that has been counted where it counts, and may be sent to an upstream, as often as its retries allow.
pub struct Admitted {
    authorized: Authorized,
}

/// There are no limits yet, so that nothing is counted.
pub async fn limit(authorized: Authorized, _meta: &RequestMeta<'_>) -> Result<Admitted, Verdict> {
    Ok(Admitted { authorized })
}

impl Admitted {
    pub fn service(&self) -> &Arc<Service> {
        self.authorized.service()
    }

    pub(super) fn revision(&self) -> Revision {
        self.authorized.revision()
    }
}

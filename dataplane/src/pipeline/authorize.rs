use std::sync::Arc;

use shared::change::Revision;
use shared::model::Service;

use super::{RequestMeta, Routed, Verdict};

/// Leave to use the service, as the service stood at one revision: `pick` compares it with the view of its own moment.
pub struct Authorized {
    routed: Routed,
}

/// Services have no authorizer yet, so that everyone may use them who comes from where it is allowed.
pub async fn authorize(routed: Routed, meta: &RequestMeta<'_>) -> Result<Authorized, Verdict> {
    if !routed.service().access.admits(meta.client) {
        return Err(Verdict::Denied);
    }
    Ok(Authorized { routed })
}

impl Authorized {
    pub fn service(&self) -> &Arc<Service> {
        self.routed.service()
    }

    pub(super) fn revision(&self) -> Revision {
        self.routed.revision()
    }
}

use std::sync::Arc;

use shared::change::Revision;
use shared::model::Service;

use super::{RequestMeta, Routed, Verdict};

/// Leave to use the service, as the service stood at one revision: `pick` compares it with the view of its own moment.
pub struct Authorized {
    routed: Routed,
}

/// Services have no authorizer yet, so that everyone may use them.
pub async fn authorize(routed: Routed, _meta: &RequestMeta<'_>) -> Result<Authorized, Verdict> {
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

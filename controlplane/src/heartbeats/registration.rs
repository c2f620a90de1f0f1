use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::change::Revision;

/// One form of one registration: a change of it is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Registration {
    pub service: Arc<str>,
    pub id: Arc<str>,
    /// Of the upstream's last change.
    pub revision: Revision,
}

impl Registration {
    pub fn new(service: &Arc<str>, id: &Arc<str>, revision: Revision) -> Registration {
        Registration {
            service: service.clone(),
            id: id.clone(),
            revision,
        }
    }
}

use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Service, path};
use shared::table::{Entry, Query};

use super::{RequestMeta, Verdict};
use crate::view::View;

/// The service that a request is for.
pub struct Routed {
    entry: Arc<Entry>,
}

/// Finds the service whose match wins.
pub fn route(view: &View, meta: &RequestMeta<'_>) -> Result<Routed, Verdict> {
    let path = path::normalise(meta.path).map_err(|bad| Verdict::BadRequest {
        detail: bad.to_string().into(),
    })?;
    let query = Query {
        host: meta.host,
        path: &path,
        method: meta.method,
        headers: meta.headers,
    };
    let entry = view.table().route(&query).ok_or(Verdict::NoRoute)?;
    let bytes_max = entry.service.max_body;
    match meta.length {
        Some(length) if length > bytes_max => Err(Verdict::TooLarge { bytes_max }),
        _ => Ok(Routed { entry: entry.clone() }),
    }
}

impl Routed {
    pub fn service(&self) -> &Arc<Service> {
        &self.entry.service
    }

    /// Of the service as it was matched.
    pub(super) fn revision(&self) -> Revision {
        self.entry.revision
    }
}

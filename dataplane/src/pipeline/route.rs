use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Service, path};
use shared::table::{Entry, Query};

use super::{RequestMeta, Verdict};
use crate::authorizer::Asked;
use crate::view::View;

/// The service that a request is for.
pub struct Routed {
    entry: Arc<Entry>,
    ward: Ward,
}

/// Who keeps the service.
pub(super) enum Ward {
    /// It is open to all.
    Open,
    Asks(Asked),
    /// An authorizer that this proxy does not have: nobody is let in.
    Lost,
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
        _ => Ok(Routed {
            entry: entry.clone(),
            ward: Ward::of(view, entry),
        }),
    }
}

impl Ward {
    fn of(view: &View, entry: &Entry) -> Ward {
        match &entry.service.authorizer {
            None => Ward::Open,
            Some(name) => view.asked(name).map_or(Ward::Lost, Ward::Asks),
        }
    }
}

impl Routed {
    /// Whether the client's credentials are looked at.
    pub fn is_guarded(&self) -> bool {
        matches!(self.ward, Ward::Asks(_))
    }

    pub(super) fn ward(&self) -> &Ward {
        &self.ward
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.entry.service
    }

    /// Of the service as it was matched.
    pub(super) fn revision(&self) -> Revision {
        self.entry.revision
    }
}

use std::net::IpAddr;
use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Authorizer, Service, path};
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

/// Services that are looked at for one client.
const SUBMISSIONS_MAX: usize = 64;

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
        _ => Ok(Routed::to(view, entry)),
    }
}

/// Finds the service that takes mail for `recipient`, an address as sent without angle brackets. How long the message is
/// shows later.
pub fn route_mail(view: &View, recipient: &str) -> Result<Routed, Verdict> {
    let entry = view.table().route_mail(recipient).ok_or(Verdict::NoRoute)?;
    Ok(Routed::to(view, entry))
}

/// Whose authorizer says who may send mail, before it is known to whom; none: nobody has to show credentials.
pub fn submission(view: &View) -> Option<Routed> {
    let entry = view.table().submission().next()?;
    Some(Routed::to(view, entry))
}

/// As `submission`, for a client: several services may have the same authorizer and let different clients in.
pub fn submission_for(view: &View, client: IpAddr) -> Option<Routed> {
    let is_for = |entry: &&Arc<Entry>| entry.service.access.admits(client);
    let entry = view.table().submission().take(SUBMISSIONS_MAX).find(is_for);
    entry.map(|entry| Routed::to(view, entry)).or_else(|| submission(view))
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
    fn to(view: &View, entry: &Arc<Entry>) -> Routed {
        Routed {
            entry: entry.clone(),
            ward: Ward::of(view, entry),
        }
    }

    /// Whether the client's credentials are looked at.
    pub fn is_guarded(&self) -> bool {
        matches!(self.ward, Ward::Asks(_))
    }

    /// None where nobody has to be asked, and where nobody can be.
    pub fn authorizer(&self) -> Option<&Authorizer> {
        match &self.ward {
            Ward::Asks(asked) => Some(&asked.authority.authorizer),
            Ward::Open | Ward::Lost => None,
        }
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

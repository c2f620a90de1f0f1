use std::future::Future;
use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Service, Style};

use super::route::Ward;
use super::{RequestMeta, Routed, Verdict};
use crate::authorizer::{Answer, Asked, Grant, Stamp};
use crate::view::View;

/// Whom authorizers are asked through.
pub trait Authorizers {
    /// Leave, or the refusal. It has a deadline of its own.
    fn ask(&self, asked: &Asked, meta: &RequestMeta<'_>) -> impl Future<Output = Result<Given, Verdict>>;

    /// Somebody was refused without being asked about.
    fn unasked(&self, _: &Asked) {}
}

/// Nobody can be asked.
impl Authorizers for () {
    async fn ask(&self, _: &Asked, _: &RequestMeta<'_>) -> Result<Given, Verdict> {
        Err(unavailable())
    }
}

/// A grant, and under what it was given.
pub struct Given {
    pub answer: Arc<Answer>,
    pub stamp: Stamp,
}

/// Leave to use the service, as the service, its authorizer and what was revoked there stood at one time: `pick` compares
/// them with the view of its own moment.
pub struct Authorized {
    routed: Routed,
    given: Option<Given>,
}

/// Who comes from where it is not allowed is refused unasked, and so is who shows no credentials where they are needed.
pub async fn authorize(
    routed: Routed,
    meta: &RequestMeta<'_>,
    authorizers: &impl Authorizers,
) -> Result<Authorized, Verdict> {
    if !routed.service().access.admits(meta.client) {
        return Err(Verdict::Denied);
    }
    let given = match routed.ward() {
        Ward::Open => None,
        Ward::Lost => return Err(unavailable()),
        Ward::Asks(asked) => {
            let authorizer = &asked.authority.authorizer;
            if authorizer.style != Style::Forward && meta.credentials.is_none() {
                authorizers.unasked(asked);
                let realm = authorizer.realm.to_string();
                return Err(Verdict::Unauthorized { realm });
            }
            Some(authorizers.ask(asked, meta).await?)
        }
    };
    Ok(Authorized { routed, given })
}

fn unavailable() -> Verdict {
    Verdict::AuthorizerUnavailable {
        retry_after: super::balance::RETRY_AFTER,
    }
}

impl Authorized {
    pub fn service(&self) -> &Arc<Service> {
        self.routed.service()
    }

    /// None where nobody had to be asked.
    pub fn grant(&self) -> Option<&Grant> {
        match &*self.given.as_ref()?.answer {
            Answer::Granted(grant) => Some(grant),
            Answer::Refused(_) => None,
        }
    }

    /// Names of fields that are the authorizer's to write, whether it did or not.
    pub fn copied(&self) -> &[Arc<str>] {
        match self.routed.ward() {
            Ward::Asks(asked) => &asked.authority.authorizer.copy_headers,
            Ward::Open | Ward::Lost => &[],
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.routed.revision()
    }

    /// Whether its authorizer stands in this view as it did when it was asked, and nothing was revoked there since.
    pub(super) fn is_of(&self, view: &View) -> bool {
        let Some(given) = &self.given else { return true };
        let name = self.service().authorizer.as_ref();
        let asked = name.and_then(|name| view.asked(name));
        asked.is_some_and(|asked| asked.stamp() == given.stamp)
    }
}

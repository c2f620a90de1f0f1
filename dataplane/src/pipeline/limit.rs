use std::future::Future;
use std::sync::Arc;

use shared::change::Revision;
use shared::model::{Balance, Limit, LimitId, Service};
use shared::quota::slots::Taken;
use shared::quota::{AccountId, KeyHash};
use smallvec::SmallVec;

use super::{Authorized, Protocol, RequestMeta, Verdict, affinity};
use crate::authorizer::Grant;
use crate::limiter::Permits;
use crate::view::{Pool, View};

/// By whom requests are counted.
pub trait Limits {
    /// Takes what the request needs of every limit that it counts for and that it was not counted for `before`; or of none,
    /// and it is refused. It has a deadline of its own.
    fn count(
        &self,
        authorized: &Authorized,
        meta: &RequestMeta<'_>,
        before: Counted,
    ) -> impl Future<Output = Result<Counted, Verdict>>;
}

/// Nothing is limited.
impl Limits for () {
    async fn count(&self, _: &Authorized, _: &RequestMeta<'_>, before: Counted) -> Result<Counted, Verdict> {
        Ok(before)
    }
}

/// What a request was counted under. It goes with the request, however often that is admitted again because its service
/// changed before it was sent: what it has paid stays paid, at the time at which it was, and only what is new is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub accounts: SmallVec<[KeyHash; 4]>,
    /// Of the limits that had something left the one with the least, as far as this proxy can tell.
    pub least: Option<Quota>,
    /// What goes back in part once the answer says how much was used.
    pub reserved: Vec<Reserved>,
    /// Under limits of how many are in flight. Whoever goes on for the request has a clone, until it is over.
    pub permits: Permits,
}

/// Tokens that were taken for the most that a request may come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Of the answer: how many were used. Without it all were.
    pub settle_header: Arc<str>,
    pub tokens: u32,
    pub of: ReservedOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedOf {
    Allowance(Taken),
    /// Of a limit that only observes, which counts when the answer comes.
    Nothing(AccountId),
}

/// What is said of a limit to those whom it limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub id: LimitId,
    pub threshold: u64,
    /// Seconds.
    pub period: u32,
}

impl From<&Limit> for Quota {
    fn from(limit: &Limit) -> Quota {
        Quota {
            id: limit.id,
            threshold: limit.threshold,
            period: limit.period,
        }
    }
}

/// A request that has been counted where it counts, and may be sent to an upstream, as often as its retries allow.
pub struct Admitted {
    authorized: Authorized,
    counted: Counted,
    /// By what its upstream is chosen, if it has a say in that.
    key: Option<u64>,
}

/// `before`: what this very request was counted under already.
pub async fn limit(
    authorized: Authorized,
    meta: &RequestMeta<'_>,
    limits: &impl Limits,
    before: Counted,
) -> Result<Admitted, Verdict> {
    let counted = limits.count(&authorized, meta, before).await?;
    let key = match &authorized.service().balance {
        Balance::ConsistentHash { header } => match meta.protocol {
            Protocol::Http => meta.headers.header(header).map(affinity::hash),
            // Mail has no such fields: a domain's mail stays together.
            Protocol::Smtp => Some(affinity::hash(meta.path)),
        },
        Balance::LeastRequest | Balance::RoundRobin | Balance::Random => None,
    };
    Ok(Admitted {
        authorized,
        counted,
        key,
    })
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

    pub fn counted(&self) -> &Counted {
        &self.counted
    }

    /// For this request, when it has to be admitted again.
    pub fn into_counted(self) -> Counted {
        self.counted
    }

    /// Whether it would be admitted on this view as well: the service and its authorizer are what they were, and nothing
    /// was revoked. Limits that came since are not asked: it was admitted before them.
    pub fn is_of(&self, view: &View) -> bool {
        self.pool(view).is_some()
    }

    /// The service's upstreams in this view, if it `is_of` that.
    pub(super) fn pool<'a>(&self, view: &'a View) -> Option<&'a Arc<Pool>> {
        let pool = view.pool(&self.service().name)?;
        (pool.revision() == self.revision() && self.authorized.is_of(view)).then_some(pool)
    }

    fn revision(&self) -> Revision {
        self.authorized.revision()
    }
}

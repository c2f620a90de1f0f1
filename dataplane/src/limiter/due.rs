//! What a request is to be counted under, and how many tokens it takes there.

use std::cell::OnceCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use http::HeaderMap;
use shared::model::{Algorithm, Cost, CountedUnder, Limit, Mode};
use shared::quota::slots::{Attempt, Need};
use shared::quota::{AccountId, Digest, KeyHash};
use shared::table::{Asked, InForce};
use smallvec::SmallVec;

use super::accounts::Digests;
use super::{RETRY_AFTER, cost};
use crate::pipeline::{Counted, Quota, Reserved, ReservedOf, Verdict};
use crate::view::View;

/// What limits ask about.
pub(super) struct Request<'a> {
    pub asked: Asked<'a>,
    pub digests: Digests,
    pub client: IpAddr,
    pub fields: Option<&'a HeaderMap>,
}

/// An account that a request needs tokens of.
pub(super) struct Due<'v> {
    pub in_force: &'v InForce,
    pub key: KeyHash,
    pub quota: Quota,
    pub cost: u32,
}

/// What a request is to be counted under, and was not yet.
#[derive(Default)]
pub(super) struct Dues<'v> {
    pub due: SmallVec<[Due<'v>; 4]>,
    /// Limits that only observe.
    pub observed: SmallVec<[Due<'v>; 1]>,
}

impl<'v> Dues<'v> {
    pub fn of(
        view: &'v View,
        request: &Request<'_>,
        before: &Counted,
        uncounted: &[KeyHash],
    ) -> Result<Dues<'v>, Verdict> {
        let client = OnceCell::new();
        let mut dues = Dues::default();
        for in_force in view.table().limits(&request.asked) {
            let counted_under = match in_force.limit.key {
                CountedUnder::AuthToken => request.digests.auth_token,
                CountedUnder::LimitKey => request.digests.limit_key,
                CountedUnder::ClientIp => *client.get_or_init(|| of_address(request.client)),
            };
            let key = KeyHash::of_digests(in_force.digest, counted_under);
            if before.accounts.contains(&key) || uncounted.contains(&key) {
                continue;
            }
            let (cost, mode) = (&in_force.limit.cost, in_force.limit.mode);
            let tokens = match mode {
                Mode::Enforce => cost::of(cost, request.fields)?,
                Mode::Observe => cost::of_observed(cost, request.fields),
            };
            let due = Due {
                in_force,
                key,
                quota: Quota::from(&in_force.limit),
                cost: u32::try_from(tokens).unwrap_or(u32::MAX),
            };
            match mode {
                Mode::Enforce => dues.due.push(due),
                Mode::Observe => dues.observed.push(due),
            }
        }
        Ok(dues)
    }
}

impl Due<'_> {
    pub fn account(&self) -> AccountId {
        AccountId {
            limit: self.quota.id.0,
            key: self.key,
        }
    }

    pub fn need(&self) -> Need {
        Need {
            key: self.key,
            cost: self.cost,
        }
    }

    /// It takes more than there ever is.
    pub fn is_hopeless(&self) -> bool {
        u64::from(self.cost) > self.quota.threshold
    }

    pub fn exceeded(&self, retry_after: Duration, is_spent: bool) -> Verdict {
        exceeded(self.quota, retry_after, is_spent)
    }

    /// As many may be in flight at a time.
    pub fn concurrent(&self) -> Option<u32> {
        self.in_force.limit.concurrent
    }

    pub fn too_many_in_flight(&self, most: u32, is_all: bool) -> Verdict {
        Verdict::TooManyInFlight {
            quota: self.quota,
            most,
            retry_after: RETRY_AFTER,
            is_all,
        }
    }

    /// For another permit, if the limit lets wait.
    pub fn awaited_in_flight(&self, is_all: bool) -> Option<Awaited> {
        let awaited = self.awaited(Duration::ZERO, is_all)?;
        Some(Awaited {
            concurrent: self.concurrent(),
            ..awaited
        })
    }

    /// If the limit lets wait.
    pub fn awaited(&self, retry: Duration, is_spent: bool) -> Option<Awaited> {
        let limit = &self.in_force.limit;
        (!limit.delay_max.is_zero()).then(|| Awaited {
            key: self.key,
            quota: self.quota,
            cost: self.cost,
            delay_max: limit.delay_max,
            retry,
            is_spent,
            concurrent: None,
            tokens_max: tokens_within(limit, limit.delay_max),
        })
    }

    /// If what it takes is settled by the answer.
    pub fn reserve(&self, of: impl FnOnce() -> Option<ReservedOf>) -> Option<Reserved> {
        let Cost::Reserved { settle_header, .. } = &self.in_force.limit.cost else {
            return None;
        };
        Some(Reserved {
            settle_header: settle_header.clone(),
            tokens: self.cost,
            of: of()?,
        })
    }
}

/// A limit that has nothing for a request now, and lets it wait for its turn.
pub(super) struct Awaited {
    pub key: KeyHash,
    pub quota: Quota,
    pub cost: u32,
    pub delay_max: Duration,
    /// There is nothing before.
    pub retry: Duration,
    is_spent: bool,
    /// It waits for one of so many to end, not for tokens.
    concurrent: Option<u32>,
    /// So much the whole fleet can admit while it waits, at most.
    pub tokens_max: u64,
}

impl Awaited {
    pub fn exceeded(&self, retry_after: Duration) -> Verdict {
        match self.concurrent {
            None => exceeded(self.quota, retry_after, self.is_spent),
            Some(most) => Verdict::TooManyInFlight {
                quota: self.quota,
                most,
                retry_after,
                is_all: self.is_spent,
            },
        }
    }
}

/// Of each period, or part of one, that touches an interval.
fn tokens_within(limit: &Limit, interval: Duration) -> u64 {
    let whole = interval.as_secs() / u64::from(limit.period.max(1));
    let touched = match limit.algorithm {
        Algorithm::Sliding => whole + 1,
        Algorithm::Fixed => whole + 2,
    };
    limit.threshold.saturating_mul(touched)
}

pub(super) fn exceeded(quota: Quota, retry_after: Duration, is_spent: bool) -> Verdict {
    Verdict::QuotaExceeded {
        quota,
        retry_after,
        is_spent,
    }
}

/// Of what was taken for all of them, what will be settled.
pub(super) fn reservations(due: &[Due<'_>], attempt: &Attempt<'_>) -> Vec<Reserved> {
    let reserve = |(at, of): (usize, &Due<'_>)| of.reserve(|| attempt.reserve(at).map(ReservedOf::Allowance));
    due.iter().enumerate().filter_map(reserve).collect()
}

/// As it is written.
fn of_address(client: IpAddr) -> Digest {
    Digest::of_key(Address([0; ADDRESS_MAX]).of(client))
}

/// As a text.
struct Address([u8; ADDRESS_MAX]);

/// The longest is eight groups of four digits, and what stands between them.
const ADDRESS_MAX: usize = 39;

impl Address {
    fn of(&mut self, client: IpAddr) -> &[u8] {
        let mut rest = &mut self.0[..];
        // There is room.
        let _ = write!(rest, "{client}");
        let left = rest.len();
        &self.0[..ADDRESS_MAX - left]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_fits() {
        for text in ["1.2.3.4", "2001:db8::7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let mut address = Address([0; ADDRESS_MAX]);
            assert_eq!(address.of(text.parse().unwrap()), text.as_bytes());
        }
    }
}

//! A worker's way to what it may admit.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::model::{CountedUnder, LimitId, Mode, OnUnreachable, path};
use shared::quota::slots::{Decision, NEEDS_MAX, Need};
use shared::quota::{AccountId, KeyHash};
use shared::table::{Asked, InForce};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::tally::Decided;
use super::{Blocked, Limiter, RETRY_AFTER, Tally, Waiting};
use crate::authorizer::Grant;
use crate::pipeline::{Authorized, Counted, Limits, Protocol, Quota, RequestMeta, Verdict};
use crate::view::{Reader, View, Views};

/// Decisions in one look: after each but the first there was something for this request a moment ago.
const ATTEMPTS: usize = 16;
/// Limits whose tallies a worker has at hand.
const TALLIES_MAX: usize = 4_096;

/// Shared by the connections of one worker.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

struct Inner {
    views: Reader,
    limiter: Arc<Limiter>,
    tallies: RefCell<HashMap<LimitId, Arc<Tally>>>,
}

/// What limits ask about.
struct Request<'a> {
    asked: Asked<'a>,
    /// Instead of the token, if the authorizer has named one.
    limit_key: Option<&'a str>,
    client: IpAddr,
}

/// An account that a request needs a token of.
struct Due<'v> {
    in_force: &'v InForce,
    account: AccountId,
}

enum Outcome {
    Counted(Counted),
    Refused(Verdict),
    /// `otherwise`: what becomes of it when the wait brings nothing.
    Wait {
        waiting: Waiting,
        otherwise: Otherwise,
    },
}

enum Otherwise {
    Refused(LimitId, Verdict),
    /// The limit lets pass what its owner does not answer.
    Uncounted(LimitId, KeyHash),
}

impl Limits for Desk {
    async fn count(
        &self,
        authorized: &Authorized,
        meta: &RequestMeta<'_>,
        before: Counted,
    ) -> Result<Counted, Verdict> {
        if !self.0.views.with(|view| view.table().has_limits()) {
            return Ok(before);
        }
        let path = match meta.protocol {
            Protocol::Http => path::normalise(meta.path).map_err(|bad| Verdict::BadRequest {
                detail: bad.to_string().into(),
            })?,
            Protocol::Smtp => Cow::Borrowed(meta.path),
        };
        let grant = authorized.grant();
        let token = meta.account.map_or_else(|| token(grant), Cow::Borrowed);
        let limit_key = grant.and_then(|grant| grant.limit_key.as_deref());
        let request = Request {
            asked: Asked {
                service: authorized.service().name.as_str(),
                auth_token: &token,
                protocol: match meta.protocol {
                    Protocol::Http => "HTTP",
                    Protocol::Smtp => "SMTP",
                },
                method: meta.method,
                path: &path,
                length: meta.length,
            },
            limit_key: meta.account.or(limit_key),
            client: meta.client.to_canonical(),
        };
        match self.0.look(&request, &before, &[]) {
            Outcome::Counted(counted) => Ok(counted),
            Outcome::Refused(verdict) => Err(verdict),
            // Seldom: no part of what every request carries along.
            Outcome::Wait { waiting, otherwise } => {
                Box::pin(self.0.outlast(&request, &before, waiting, otherwise)).await
            }
        }
    }
}

/// Of a request that nobody authorized the empty one.
fn token(grant: Option<&Grant>) -> Cow<'_, str> {
    match grant.and_then(|grant| grant.auth_token.as_ref()) {
        Some(token) => String::from_utf8_lossy(token.as_bytes()),
        None => Cow::Borrowed(""),
    }
}

impl Desk {
    pub fn new(views: &Views) -> Desk {
        Desk(Rc::new(Inner {
            views: views.reader(),
            limiter: views.limiter().clone(),
            tallies: RefCell::default(),
        }))
    }
}

impl Inner {
    /// Waits, and looks anew at the limits of then, as often as there is something new in time.
    async fn outlast(
        &self,
        request: &Request<'_>,
        before: &Counted,
        mut waiting: Waiting,
        mut otherwise: Otherwise,
    ) -> Result<Counted, Verdict> {
        let until = Instant::now() + self.limiter.patience();
        let mut uncounted = Vec::new();
        loop {
            if !waiting.ended(until).await {
                match otherwise {
                    Otherwise::Refused(limit, verdict) => {
                        self.tally(limit, Decided::Refused);
                        return Err(verdict);
                    }
                    Otherwise::Uncounted(limit, key) => {
                        self.tally(limit, Decided::Uncounted);
                        uncounted.push(key);
                    }
                }
            }
            match self.look(request, before, &uncounted) {
                Outcome::Counted(counted) => return Ok(counted),
                Outcome::Refused(verdict) => return Err(verdict),
                Outcome::Wait {
                    waiting: next,
                    otherwise: then,
                } => (waiting, otherwise) = (next, then),
            }
        }
    }

    /// Finds the limits of now and decides, at once: what is decided on a view is decided before whoever swaps the next one
    /// hears from this worker.
    fn look(&self, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> Outcome {
        self.views.with(|view| self.decide(view, request, before, uncounted))
    }

    fn decide(&self, view: &View, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> Outcome {
        let mut due = due(view, request, before, uncounted);
        if due.len() > NEEDS_MAX {
            return Outcome::Refused(Verdict::TooManyLimits);
        }
        let mut needs: SmallVec<[Need; 4]> = due.iter().map(Due::need).collect();
        for _ in 0..ATTEMPTS {
            if needs.is_empty() {
                return Outcome::Counted(before.clone());
            }
            let short = match self.limiter.decide(&needs) {
                Decision::Admitted { low, .. } => return Outcome::Counted(self.admitted(&due, low, before)),
                Decision::Exhausted { need, retry } => {
                    let retry_after = retry.since(net::clock::monotonic_raw());
                    return self.refused(&due[need], retry_after, true);
                }
                Decision::Short { need } => need,
            };
            let of = &due[short];
            match self.limiter.block(of.account, COST) {
                Blocked::Again => {}
                Blocked::Refuse { retry_after } => return self.refused(of, retry_after, false),
                Blocked::Uncounted => {
                    self.tally(of.limit(), Decided::Uncounted);
                    due.remove(short);
                    needs.remove(short);
                }
                Blocked::Wait(waiting) => {
                    let otherwise = match of.in_force.limit.on_unreachable {
                        OnUnreachable::Open => Otherwise::Uncounted(of.limit(), of.account.key),
                        OnUnreachable::Share | OnUnreachable::Closed => of.refusal(),
                    };
                    return Outcome::Wait { waiting, otherwise };
                }
                Blocked::Stale(waiting) => {
                    return Outcome::Wait {
                        waiting,
                        otherwise: of.refusal(),
                    };
                }
            }
        }
        self.refused(&due[0], RETRY_AFTER, false)
    }

    fn admitted(&self, due: &[Due<'_>], low: u32, before: &Counted) -> Counted {
        let mut counted = before.clone();
        for (at, of) in due.iter().enumerate() {
            counted.accounts.push(of.account.key);
            self.tally(of.limit(), Decided::Admitted);
            if low >> at & 1 == 1 {
                self.limiter.prefetch(of.account);
            }
        }
        let least = match due {
            [only] => Some(only),
            several => several.iter().min_by_key(|of| self.limiter.rest(&of.account)),
        };
        counted.least = least.map(|of| Quota::from(&of.in_force.limit)).or(counted.least);
        counted
    }

    fn refused(&self, of: &Due<'_>, retry_after: Duration, is_spent: bool) -> Outcome {
        self.tally(of.limit(), Decided::Refused);
        Outcome::Refused(of.verdict(retry_after, is_spent))
    }

    fn tally(&self, id: LimitId, decided: Decided) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.len() >= TALLIES_MAX {
            tallies.clear();
        }
        let tally = tallies.entry(id).or_insert_with(|| self.limiter.tallies().of(id));
        tally.count(decided);
    }
}

/// Of each limit. Others are refused by the API.
const COST: u32 = 1;

impl Due<'_> {
    fn limit(&self) -> LimitId {
        self.in_force.limit.id
    }

    /// When nothing comes of a wait.
    fn refusal(&self) -> Otherwise {
        Otherwise::Refused(self.limit(), self.verdict(RETRY_AFTER, false))
    }

    fn need(&self) -> Need {
        Need {
            key: self.account.key,
            cost: COST,
        }
    }

    fn verdict(&self, retry_after: Duration, is_spent: bool) -> Verdict {
        Verdict::QuotaExceeded {
            quota: Quota::from(&self.in_force.limit),
            retry_after,
            is_spent,
        }
    }
}

/// Limits that only observe are not counted: nobody would know when they were exceeded.
fn due<'v>(view: &'v View, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> SmallVec<[Due<'v>; 4]> {
    let mut address = Address([0; ADDRESS_MAX]);
    let matching = view.table().limits(&request.asked);
    let enforced = matching.into_iter().filter(|of| of.limit.mode == Mode::Enforce);
    let due = enforced.map(|in_force| {
        let key = match in_force.limit.key {
            CountedUnder::AuthToken => request.asked.auth_token.as_bytes(),
            CountedUnder::LimitKey => request.limit_key.unwrap_or(request.asked.auth_token).as_bytes(),
            CountedUnder::ClientIp => address.of(request.client),
        };
        let account = AccountId::of(in_force.limit.id.0, key);
        Due { in_force, account }
    });
    due.filter(|due| {
        let is_it = |key: &KeyHash| *key == due.account.key;
        !before.accounts.iter().any(is_it) && !uncounted.iter().any(is_it)
    })
    .collect()
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

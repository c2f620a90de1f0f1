//! A worker's way to what it may admit.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::model::{CountedUnder, LimitId, Mode, OnUnreachable, path};
use shared::quota::slots::{Decision, NEEDS_MAX, Need};
use shared::quota::{AccountId, Digest, KeyHash};
use shared::table::{Asked, InForce};
use shared::time::Time;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::accounts::{Account, Digests};
use super::tally::Decided;
use super::{Blocked, Limiter, RETRY_AFTER, Tally, Waiting};
use crate::authorizer::Grant;
use crate::pipeline::{Authorized, Counted, Limits, Protocol, Quota, RequestMeta, Verdict};
use crate::view::{Reader, View, Views};

/// Whoever is woken so long after the time gives its owner the time again, once.
const LATE: Duration = Duration::from_millis(10);
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
    /// Of limits of this era: one that was deleted and comes again has another tally.
    tallies: RefCell<HashMap<LimitId, Tally>>,
    limits_era: Cell<u64>,
}

/// What limits ask about.
struct Request<'a> {
    asked: Asked<'a>,
    digests: Digests,
    client: IpAddr,
}

/// An account that a request needs a token of.
struct Due<'v> {
    in_force: &'v InForce,
    key: KeyHash,
    quota: Quota,
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
    Refused(AccountId, Verdict),
    /// The limit lets pass what its owner cannot be asked about.
    Open(AccountId, Verdict),
}

impl Limits for Desk {
    async fn count(
        &self,
        authorized: &Authorized,
        meta: &RequestMeta<'_>,
        before: Counted,
    ) -> Result<Counted, Verdict> {
        let at_once = self.0.views.with(|view| match view.table().has_limits() {
            true => self.0.take_known(view, authorized, &before),
            false => Some(Ok(before.clone())),
        });
        if let Some(decided) = at_once {
            return decided;
        }
        let path = path::normalise(meta.path).map_err(|bad| Verdict::BadRequest {
            detail: bad.to_string().into(),
        })?;
        let grant = authorized.grant();
        let token = token(grant);
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
            digests: Digests::of(grant),
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
pub(super) fn token(grant: Option<&Grant>) -> Cow<'_, str> {
    let token = grant.and_then(|grant| grant.auth_token.as_ref());
    let token = token.map_or(&b""[..], |token| token.as_bytes());
    match std::str::from_utf8(token) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(token),
    }
}

impl Desk {
    pub fn new(views: &Views) -> Desk {
        Desk(Rc::new(Inner {
            views: views.reader(),
            limiter: views.limiter().clone(),
            tallies: RefCell::default(),
            limits_era: Cell::default(),
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
        let mut until = Instant::now() + self.limiter.patience();
        let mut uncounted = Vec::new();
        let mut was_late = false;
        loop {
            if !waiting.ended(until).await {
                // A thread that stood still has not waited, and what it was told meanwhile it has not heard.
                let is_late = !was_late && until.elapsed() > LATE;
                match otherwise {
                    _ if is_late => {
                        was_late = true;
                        until = Instant::now() + self.limiter.patience();
                    }
                    Otherwise::Open(account, _) if self.limiter.is_cut_off(&account) => {
                        self.tally(LimitId(account.limit), Decided::Uncounted);
                        uncounted.push(account.key);
                    }
                    Otherwise::Refused(account, verdict) | Otherwise::Open(account, verdict) => {
                        self.tally(LimitId(account.limit), Decided::Refused);
                        return Err(verdict);
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

    /// Decides about a request whose accounts are known beforehand, if there is something to decide by.
    fn take_known(&self, view: &View, authorized: &Authorized, before: &Counted) -> Option<Result<Counted, Verdict>> {
        let grant = authorized.grant().filter(|_| before.accounts.is_empty())?;
        self.turn_to(view);
        let tally = |id| self.at_hand(id, Tally::clone);
        self.limiter.touch(grant.accounts.place());
        let kept = grant.accounts.all(view, grant, authorized.service(), tally)?;
        let accounts = kept.as_ref()?.accounts()?;
        accounts.iter().for_each(|of| of.tally.touch());
        let needs: SmallVec<[Need; 2]> = accounts.iter().map(|of| need(of.key)).collect();
        match self.limiter.decide(&needs) {
            Decision::Admitted { low, least, .. } => {
                accounts.iter().for_each(|of| of.tally.count(Decided::Admitted));
                let all = accounts.iter().map(|of| (of.key, of.quota));
                Some(Ok(self.admitted(all, low, least, before)))
            }
            Decision::Exhausted { need, retry } => {
                let Account { quota, tally, .. } = &accounts[need];
                tally.count(Decided::Refused);
                Some(Err(exceeded(*quota, until(retry), true)))
            }
            Decision::Short { .. } => None,
        }
    }

    /// Finds the limits of now and decides, at once: what is decided on a view is decided before whoever swaps the next one
    /// hears from this worker.
    fn look(&self, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> Outcome {
        self.views.with(|view| self.decide(view, request, before, uncounted))
    }

    fn decide(&self, view: &View, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> Outcome {
        self.turn_to(view);
        let mut due = due(view, request, before, uncounted);
        if due.len() > NEEDS_MAX {
            return Outcome::Refused(Verdict::TooManyLimits);
        }
        // Whoever counts for it, and whether anybody can be asked.
        if let Some(none) = due.iter().find(|of| of.quota.threshold == 0) {
            return self.refused(none, Duration::from_secs(none.quota.period.into()), true);
        }
        let mut needs: SmallVec<[Need; 4]> = due.iter().map(|of| need(of.key)).collect();
        for _ in 0..ATTEMPTS {
            if needs.is_empty() {
                return Outcome::Counted(before.clone());
            }
            let short = match self.limiter.decide(&needs) {
                Decision::Admitted { low, least, .. } => {
                    due.iter().for_each(|of| self.tally(of.quota.id, Decided::Admitted));
                    let all = due.iter().map(|of| (of.key, of.quota));
                    return Outcome::Counted(self.admitted(all, low, least, before));
                }
                Decision::Exhausted { need, retry } => return self.refused(&due[need], until(retry), true),
                Decision::Short { need } => need,
            };
            let of = &due[short];
            match self.limiter.block(of.account(), COST) {
                Blocked::Again => {}
                Blocked::Refuse { retry_after } => return self.refused(of, retry_after, false),
                Blocked::Uncounted => {
                    self.tally(of.quota.id, Decided::Uncounted);
                    due.remove(short);
                    needs.remove(short);
                }
                Blocked::Wait(waiting) => {
                    let otherwise = match of.in_force.limit.on_unreachable {
                        OnUnreachable::Open => Otherwise::Open(of.account(), of.unanswered()),
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

    /// `taken`: the accounts in the order in which they were asked for, each with its limit.
    fn admitted(
        &self,
        taken: impl Iterator<Item = (KeyHash, Quota)>,
        low: u32,
        least: usize,
        before: &Counted,
    ) -> Counted {
        let mut counted = before.clone();
        for (at, (key, quota)) in taken.enumerate() {
            counted.accounts.push(key);
            if low >> at & 1 == 1 {
                let limit = quota.id.0;
                self.limiter.prefetch(AccountId { limit, key });
            }
            if least == at {
                counted.least = Some(quota);
            }
        }
        counted
    }

    fn refused(&self, of: &Due<'_>, retry_after: Duration, is_spent: bool) -> Outcome {
        self.tally(of.quota.id, Decided::Refused);
        Outcome::Refused(exceeded(of.quota, retry_after, is_spent))
    }

    fn tally(&self, id: LimitId, decided: Decided) {
        self.at_hand(id, |tally| tally.count(decided));
    }

    fn at_hand<R>(&self, id: LimitId, look: impl FnOnce(&Tally) -> R) -> R {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.len() >= TALLIES_MAX {
            tallies.clear();
        }
        look(tallies.entry(id).or_insert_with(|| self.limiter.tallies().of(id)))
    }

    /// Forgets the tallies of limits before those of this view.
    fn turn_to(&self, view: &View) {
        if self.limits_era.replace(view.limits_era()) != view.limits_era() {
            self.tallies.borrow_mut().clear();
        }
    }
}

/// Of each limit. Others are refused by the API.
const COST: u32 = 1;

fn need(key: KeyHash) -> Need {
    Need { key, cost: COST }
}

fn until(retry: Time) -> Duration {
    retry.since(net::clock::monotonic_raw())
}

fn exceeded(quota: Quota, retry_after: Duration, is_spent: bool) -> Verdict {
    Verdict::QuotaExceeded {
        quota,
        retry_after,
        is_spent,
    }
}

impl Due<'_> {
    fn account(&self) -> AccountId {
        AccountId {
            limit: self.quota.id.0,
            key: self.key,
        }
    }

    /// When nothing comes of a wait.
    fn refusal(&self) -> Otherwise {
        Otherwise::Refused(self.account(), self.unanswered())
    }

    fn unanswered(&self) -> Verdict {
        exceeded(self.quota, RETRY_AFTER, false)
    }
}

/// Limits that only observe are not counted: nobody would know when they were exceeded.
fn due<'v>(view: &'v View, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash]) -> SmallVec<[Due<'v>; 4]> {
    let client = OnceCell::new();
    let matching = view.table().limits(&request.asked);
    let enforced = matching.into_iter().filter(|of| of.limit.mode == Mode::Enforce);
    let due = enforced.map(|in_force| {
        let counted_under = match in_force.limit.key {
            CountedUnder::AuthToken => request.digests.auth_token,
            CountedUnder::LimitKey => request.digests.limit_key,
            CountedUnder::ClientIp => *client.get_or_init(|| of_address(request.client)),
        };
        Due {
            in_force,
            key: KeyHash::of_digests(in_force.digest, counted_under),
            quota: Quota::from(&in_force.limit),
        }
    });
    due.filter(|due| !before.accounts.contains(&due.key) && !uncounted.contains(&due.key))
        .collect()
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

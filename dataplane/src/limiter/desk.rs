//! A worker's way to what it may admit.

mod in_flight;
mod outlast;

use std::array::from_fn;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use http::HeaderMap;
use shared::model::{LimitId, OnUnreachable, path};
use shared::quota::slots::{Attempt, Decision, NEEDS_MAX, Need};
use shared::quota::{AccountId, KeyHash};
use shared::table::Asked;
use shared::time::Time;
use smallvec::SmallVec;

use self::outlast::{Otherwise, Pending};
use super::accounts::{Account, Digests, KEPT_MAX, Kept, token};
use super::due::{Awaited, Due, Dues, Request, exceeded, reservations};
use super::tally::{Decided, Number};
use super::{Blocked, Limiter, RETRY_AFTER};
use crate::pipeline::{Authorized, Counted, Limits, Protocol, Quota, RequestMeta, ReservedOf, Verdict};
use crate::view::{Reader, View, Views};

/// Decisions in one look: after each but the first there was something for this request a moment ago.
const ATTEMPTS: usize = 16;
/// Limits whose numbers a worker has at hand.
const NUMBERS_MAX: usize = 4_096;

/// Shared by the connections of one worker.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

struct Inner {
    views: Reader,
    limiter: Arc<Limiter>,
    /// Of limits of this era: one that was deleted and comes again has another tally.
    numbers: RefCell<HashMap<LimitId, Number, RandomState>>,
    limits_era: Cell<u64>,
}

enum Outcome {
    Counted(Counted),
    Refused(Verdict),
    Pending(Pending),
}

impl Limits for Desk {
    async fn count(
        &self,
        authorized: &Authorized,
        meta: &RequestMeta<'_>,
        mut before: Counted,
    ) -> Result<Counted, Verdict> {
        let at_once = self.0.views.with(|view| match view.table().has_limits() {
            // What is kept beside the grant is of its own token.
            true if meta.account.is_some() => None,
            true => self.0.take_known(view, authorized, &mut before),
            false => Some(Ok(())),
        });
        match at_once {
            Some(Ok(())) => return Ok(before),
            Some(Err(verdict)) => return Err(verdict),
            None => {}
        }
        let path = match meta.protocol {
            Protocol::Http => path::normalise(meta.path).map_err(|bad| Verdict::BadRequest {
                detail: bad.to_string().into(),
            })?,
            Protocol::Smtp => Cow::Borrowed(meta.path),
        };
        let grant = authorized.grant();
        let token = meta.account.map_or_else(|| token(grant), Cow::Borrowed);
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
            digests: meta.account.map_or_else(|| Digests::of(grant), Digests::of_account),
            client: meta.client.to_canonical(),
            fields: meta.fields,
        };
        match self.0.look(&request, &before, &[], false) {
            Outcome::Counted(counted) => Ok(counted),
            Outcome::Refused(verdict) => Err(verdict),
            // Seldom: no part of what every request carries along.
            Outcome::Pending(pending) => Box::pin(self.0.outlast(&request, &before, pending)).await,
        }
    }
}

impl Desk {
    pub fn new(views: &Views) -> Desk {
        Desk(Rc::new(Inner {
            views: views.reader(),
            limiter: views.limiter().clone(),
            numbers: RefCell::default(),
            limits_era: Cell::default(),
        }))
    }

    /// What the head of the answer to a request says of what was reserved for it.
    pub fn settle(&self, counted: &Counted, answer: &HeaderMap) {
        if !counted.reserved.is_empty() {
            self.0.limiter.settle_all(counted, answer);
        }
    }
}

impl Inner {
    /// Decides about a request whose accounts are known beforehand, if there is something to decide by.
    fn take_known(&self, view: &View, authorized: &Authorized, counted: &mut Counted) -> Option<Result<(), Verdict>> {
        let grant = authorized.grant().filter(|_| counted.accounts.is_empty())?;
        self.turn_to(view);
        let mut accounts = Kept::new();
        let service = authorized.service();
        if !grant.accounts.find(view, grant, service, &self.limiter, &mut accounts) {
            return None;
        }
        let tallies = self.limiter.tallies();
        let needs: [Need; KEPT_MAX] = from_fn(|at| accounts.get(at).map_or(Need::NONE, Account::need));
        match self.limiter.decide(&needs[..accounts.len()]) {
            Decision::Admitted { low, least, .. } => {
                accounts
                    .iter()
                    .for_each(|of| tallies.count(of.tally(), Decided::Admitted));
                let all = accounts.iter().map(|of| (of.key(), of.quota()));
                self.note_admitted(all, low, least, counted);
                Some(Ok(()))
            }
            Decision::Exhausted { need, retry } => {
                let account = accounts[need];
                tallies.count(account.tally(), Decided::Refused);
                Some(Err(exceeded(account.quota(), until(retry), true)))
            }
            Decision::Short { .. } => None,
        }
    }

    /// Finds the limits of now and decides, at once: what is decided on a view is decided before whoever swaps the next one
    /// hears from this worker.
    fn look(&self, request: &Request<'_>, before: &Counted, uncounted: &[KeyHash], has_turn: bool) -> Outcome {
        self.views
            .with(|view| self.decide(view, request, before, uncounted, has_turn))
    }

    fn decide(
        &self,
        view: &View,
        request: &Request<'_>,
        before: &Counted,
        uncounted: &[KeyHash],
        has_turn: bool,
    ) -> Outcome {
        self.turn_to(view);
        let Dues { mut due, observed } = match Dues::of(view, request, before, uncounted) {
            Ok(dues) => dues,
            Err(verdict) => return Outcome::Refused(verdict),
        };
        if due.len() > NEEDS_MAX {
            return Outcome::Refused(Verdict::TooManyLimits);
        }
        // Whoever counts for it, and whether anybody can be asked.
        if let Some(none) = due.iter().find(|of| of.quota.threshold == 0) {
            let retry_after = Duration::from_secs(none.quota.period.into());
            self.tally(none.quota.id, Decided::Refused);
            return Outcome::Refused(none.exceeded(retry_after, true));
        }
        if let Some(Due { quota, .. }) = due.iter().find(|of| of.is_hopeless()) {
            self.tally(quota.id, Decided::Refused);
            return Outcome::Refused(Verdict::CostsTooMuch { quota: *quota });
        }
        if !has_turn && let Some(awaited) = due.iter().find_map(|of| self.ahead(of)) {
            return Outcome::Pending(Pending::Turn(awaited));
        }
        let permits = match self.enter(&mut due, before) {
            Ok(permits) => permits,
            Err(outcome) => return *outcome,
        };
        let mut needs: SmallVec<[Need; 4]> = due.iter().map(Due::need).collect();
        for _ in 0..ATTEMPTS {
            if needs.is_empty() {
                let counted = Counted {
                    permits,
                    ..before.clone()
                };
                return Outcome::Counted(self.observe(&observed, counted));
            }
            let mut reserved = Vec::new();
            let note = |attempt: &Attempt<'_>| reserved = reservations(&due, attempt);
            let short = match self.limiter.decide_noting(&needs, note) {
                Decision::Admitted { low, least, .. } => {
                    due.iter().for_each(|of| self.tally(of.quota.id, Decided::Admitted));
                    let all = due.iter().map(|of| (of.key, of.quota));
                    let mut counted = before.clone();
                    self.note_admitted(all, low, least, &mut counted);
                    counted.reserved.extend(reserved);
                    counted.permits = permits;
                    return Outcome::Counted(self.observe(&observed, counted));
                }
                Decision::Exhausted { need, retry } => return self.refused(&due[need], until(retry), true),
                Decision::Short { need } => need,
            };
            let of = &due[short];
            match self.limiter.block(of.account(), of.cost) {
                Blocked::Again => {}
                Blocked::Refuse { retry_after } => return self.refused(of, retry_after, false),
                Blocked::Uncounted => {
                    self.tally(of.quota.id, Decided::Uncounted);
                    due.remove(short);
                    needs.remove(short);
                }
                Blocked::Wait(waiting) => {
                    let otherwise = match of.in_force.limit.on_unreachable {
                        OnUnreachable::Open => Otherwise::Open(of.account(), of.exceeded(RETRY_AFTER, false)),
                        OnUnreachable::Share | OnUnreachable::Closed => when_unanswered(of),
                    };
                    return Outcome::Pending(Pending::Owner { waiting, otherwise });
                }
                Blocked::Stale(waiting) => {
                    let otherwise = when_unanswered(of);
                    return Outcome::Pending(Pending::Owner { waiting, otherwise });
                }
            }
        }
        self.refused(&due[0], RETRY_AFTER, false)
    }

    /// `taken`: the accounts in the order in which they were asked for, each with its limit.
    fn note_admitted(
        &self,
        taken: impl Iterator<Item = (KeyHash, Quota)>,
        low: u32,
        least: usize,
        counted: &mut Counted,
    ) {
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
    }

    /// A request that is refused counts under no limit, so this comes last.
    fn observe(&self, observed: &[Due<'_>], mut counted: Counted) -> Counted {
        for of in observed {
            counted.accounts.push(of.key);
            if !self.enter_observed(of, &mut counted.permits) {
                continue;
            }
            match of.reserve(|| Some(ReservedOf::Nothing(of.account()))) {
                Some(reserved) => counted.reserved.push(reserved),
                None => self.limiter.observe(of.account(), of.cost.into()),
            }
        }
        counted
    }

    /// Those who wait for their turn at this limit already.
    fn ahead(&self, of: &Due<'_>) -> Option<Awaited> {
        let awaited = of.awaited(Duration::ZERO, false)?;
        self.limiter.turns().is_waited_for(of.key).then_some(awaited)
    }

    fn refused(&self, of: &Due<'_>, retry_after: Duration, is_spent: bool) -> Outcome {
        if let Some(awaited) = of.awaited(retry_after, is_spent) {
            return Outcome::Pending(Pending::Turn(awaited));
        }
        self.tally(of.quota.id, Decided::Refused);
        Outcome::Refused(of.exceeded(retry_after, is_spent))
    }

    fn tally(&self, id: LimitId, decided: Decided) {
        let mut numbers = self.numbers.borrow_mut();
        if numbers.len() >= NUMBERS_MAX {
            numbers.clear();
        }
        let tallies = self.limiter.tallies();
        let number = numbers.entry(id).or_insert_with(|| tallies.number(id));
        tallies.count(*number, decided);
    }

    /// Forgets the tallies of limits before those of this view.
    fn turn_to(&self, view: &View) {
        if self.limits_era.replace(view.limits_era()) != view.limits_era() {
            self.numbers.borrow_mut().clear();
        }
    }
}

fn until(retry: Time) -> Duration {
    retry.since(net::clock::monotonic_raw())
}

/// When nothing comes of a wait for the owner.
fn when_unanswered(of: &Due<'_>) -> Otherwise {
    match of.awaited(Duration::ZERO, false) {
        Some(awaited) => Otherwise::Turn(awaited),
        None => Otherwise::Refused(of.account(), of.exceeded(RETRY_AFTER, false)),
    }
}

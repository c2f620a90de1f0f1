//! The accounts of a grant, kept beside it: most requests of a token are about the same ones as the request before.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock, OnceLock};

use foldhash::fast::RandomState;
use shared::model::{Cost, CountedUnder, Limit, LimitId, Mode, Service, ServiceName};
use shared::quota::slots::Need;
use shared::quota::{Digest, KeyHash};
use shared::table::InForce;
use smallvec::SmallVec;
use uuid::Uuid;

use super::Limiter;
use super::tally::{Number, Tallies};
use super::words::Words;
use crate::authorizer::Grant;
use crate::pipeline::Quota;
use crate::view::View;

/// Requests that are about more look for them each time.
pub(super) const KEPT_MAX: usize = 3;

/// Of one grant. Found out, so that grants are equal whatever is in it.
#[derive(Default)]
#[repr(C)]
pub struct Accounts {
    /// Those of every request with the grant to one service, while no limit changes: how many there are, of which limits, of
    /// which service, then each of them.
    kept: Words<WORDS>,
    digests: OnceLock<Digests>,
}

const HEAD: usize = 3;
const EACH: usize = 6;
const WORDS: usize = HEAD + KEPT_MAX * EACH;
/// In the place of how many there are.
const NOTHING: u64 = 0;
const REQUESTS_DIFFER: u64 = u64::MAX;
/// Added to how many there are.
const KEPT: u64 = 1;

/// Of what requests are counted under.
#[derive(Clone, Copy)]
pub(super) struct Digests {
    pub auth_token: Digest,
    pub limit_key: Digest,
}

/// One that a request takes one token of, whatever else it asks for. In words, as it is kept: what is made of them is read where it
/// is needed. A processor that reads a name as a whole straight after its halves were written waits until they are.
#[derive(Clone, Copy)]
pub(super) struct Account([u64; EACH]);

pub(super) type Kept = SmallVec<[Account; KEPT_MAX]>;

impl Account {
    fn of(in_force: &InForce, digests: &Digests, tallies: &Tallies) -> Account {
        let digest = match in_force.limit.key {
            CountedUnder::LimitKey => digests.limit_key,
            CountedUnder::AuthToken | CountedUnder::ClientIp => digests.auth_token,
        };
        let (high, low) = KeyHash::of_digests(in_force.digest, digest).halves();
        let Quota { id, threshold, period } = Quota::from(&in_force.limit);
        let limit = id.0.as_u64_pair();
        let tally = tallies.number(id);
        Account([
            low,
            high,
            limit.0,
            limit.1,
            threshold,
            u64::from(tally) << 32 | u64::from(period),
        ])
    }

    pub fn key(&self) -> KeyHash {
        let [low, high, ..] = self.0;
        KeyHash::from_halves(high, low)
    }

    pub fn need(&self) -> Need {
        let key = self.key();
        Need { key, cost: 1 }
    }

    pub fn quota(&self) -> Quota {
        let [.., high, low, threshold, rest] = self.0;
        Quota {
            id: LimitId(Uuid::from_u64_pair(high, low)),
            threshold,
            period: rest as u32,
        }
    }

    pub fn tally(&self) -> Number {
        let [.., rest] = self.0;
        (rest >> 32) as Number
    }
}

impl Digests {
    pub fn of(grant: Option<&Grant>) -> Digests {
        match grant {
            Some(grant) => *grant.accounts.digests.get_or_init(|| Digests::new(grant)),
            None => Digests::of_nobody(),
        }
    }

    fn new(grant: &Grant) -> Digests {
        let auth_token = Digest::of_key(token(Some(grant)).as_bytes());
        let limit_key = grant.limit_key.as_ref();
        Digests {
            auth_token,
            limit_key: limit_key.map_or(auth_token, |key| Digest::of_key(key.as_bytes())),
        }
    }

    /// Of a request that counts under this, whatever was granted.
    pub fn of_account(account: &str) -> Digests {
        let digest = Digest::of_key(account.as_bytes());
        Digests {
            auth_token: digest,
            limit_key: digest,
        }
    }

    fn of_nobody() -> Digests {
        static NOBODY: OnceLock<Digests> = OnceLock::new();
        *NOBODY.get_or_init(|| Digests::of_account(""))
    }
}

impl Accounts {
    /// Puts those of every request with `grant`, which these are of, to this service into `all`. False: each request has to look
    /// for its own.
    pub(super) fn find(
        &self,
        view: &View,
        grant: &Grant,
        service: &Service,
        limiter: &Limiter,
        all: &mut Kept,
    ) -> bool {
        let (era, service_hash) = (view.limits_era(), hash(&service.name));
        match self.kept.read(|words| known(words, era, service_hash, all)) {
            Some(Known::These) => true,
            Some(Known::Differ) | None => false,
            Some(Known::Nothing) => {
                let found = look(view, grant, service, limiter.tallies());
                self.keep(era, service_hash, found.as_ref());
                found.map(|found| *all = found).is_some()
            }
        }
    }

    fn keep(&self, era: u64, service_hash: u64, found: Option<&Kept>) {
        let many = found.map_or(REQUESTS_DIFFER, |all| all.len() as u64 + KEPT);
        let mut words: SmallVec<[u64; WORDS]> = SmallVec::from_slice(&[many, era, service_hash]);
        words.extend(found.into_iter().flatten().flat_map(|account| account.0));
        self.kept.write(&words);
    }

    /// For whoever uses the grant next.
    pub(crate) fn needed(&self) -> Needed {
        let (low, rest) = (self.kept.peek(HEAD), self.kept.peek(HEAD + EACH - 1));
        Needed {
            place: low as u32,
            tally: (rest >> 32) as Number,
        }
    }
}

enum Known {
    /// They are in `all`, unless the words are of two writings.
    These,
    /// Requests differ, or they are another service's: whoever goes to two services in turn does not look for the accounts of
    /// both in turn.
    Differ,
    Nothing,
}

fn known(words: &Words<WORDS>, era: u64, service_hash: u64, all: &mut Kept) -> Known {
    let many = match [0, 1, 2].map(|at| words.peek(at)) {
        [NOTHING, ..] => return Known::Nothing,
        [_, of_era, _] if of_era != era => return Known::Nothing,
        [REQUESTS_DIFFER, ..] => return Known::Differ,
        [_, _, of_service] if of_service != service_hash => return Known::Differ,
        [many, ..] => usize::try_from(many - KEPT).unwrap_or(0).min(KEPT_MAX),
    };
    for at in 0..many {
        let part = |part: usize| words.peek(HEAD + at * EACH + part);
        all.push(Account(std::array::from_fn(part)));
    }
    Known::These
}

/// What the first account of a grant needs of the limiter, kept where it is known before the grant has been fetched.
#[derive(Clone, Copy, Default)]
pub struct Needed {
    /// The end of the account's name: its slot is looked for there.
    pub(super) place: u32,
    pub(super) tally: Number,
}

/// The same for all workers, and another in each process.
fn hash(service: &ServiceName) -> u64 {
    static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASHES.hash_one(service.as_str())
}

fn look(view: &View, grant: &Grant, service: &Service, tallies: &Tallies) -> Option<Kept> {
    let digests = Digests::of(Some(grant));
    let matching = view
        .table()
        .limits_of_token(service.name.as_str(), &token(Some(grant)))?;
    let are_plain = matching.len() <= KEPT_MAX && matching.iter().all(|of: &&Arc<InForce>| is_plain(&of.limit));
    are_plain.then(|| matching.iter().map(|of| Account::of(of, &digests, tallies)).collect())
}

/// Whether requests with one grant need one token of it under one key, and nothing else.
fn is_plain(limit: &Limit) -> bool {
    limit.mode == Mode::Enforce
        && limit.key != CountedUnder::ClientIp
        && limit.cost == Cost::default()
        && limit.delay_max.is_zero()
        && limit.concurrent.is_none()
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

impl PartialEq for Accounts {
    fn eq(&self, _: &Accounts) -> bool {
        true
    }
}

impl Eq for Accounts {}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

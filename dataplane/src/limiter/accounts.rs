//! The accounts of a grant, kept beside it: most requests of a token are about the same ones as the request before.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use shared::model::{Cost, CountedUnder, Limit, LimitId, Mode, Service, ServiceName};
use shared::quota::slots::Need;
use shared::quota::{Digest, KeyHash};
use shared::table::InForce;
use smallvec::SmallVec;

use super::Tally;
use crate::authorizer::Grant;
use crate::pipeline::Quota;
use crate::view::View;

/// Requests that are about more look for them each time.
const KEPT_MAX: usize = 4;

/// Of one grant. Found out, so that grants are equal whatever is in it.
#[derive(Default)]
#[repr(C)]
pub struct Accounts {
    kept: ArcSwapOption<Kept>,
    /// Of the first that is kept, perhaps.
    name: AtomicU64,
    digests: OnceLock<Digests>,
}

/// Of what requests are counted under.
#[derive(Clone, Copy)]
pub(super) struct Digests {
    pub auth_token: Digest,
    pub limit_key: Digest,
}

/// Those of every request with the grant to one service, while no limit changes.
pub(super) struct Kept {
    limits_era: u64,
    service: ServiceName,
    /// None: requests differ.
    accounts: Option<SmallVec<[Account; 1]>>,
}

/// One that a request takes one token of, whatever else it asks for.
pub(super) struct Account {
    pub key: KeyHash,
    pub quota: Quota,
    pub tally: Tally,
}

impl Account {
    pub fn need(&self) -> Need {
        Need { key: self.key, cost: 1 }
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
    /// Those of every request with `grant`, which these are of, to this service; None: each request has to look for its own.
    pub(super) fn all(
        &self,
        view: &View,
        grant: &Grant,
        service: &Service,
        tally: impl Fn(LimitId) -> Tally,
    ) -> Option<Guard<Option<Arc<Kept>>>> {
        let is_of_now = |kept: &&Arc<Kept>| kept.limits_era == view.limits_era();
        let mut kept = self.kept.load();
        if kept.as_ref().filter(is_of_now).is_none() {
            self.keep(Kept::find(view, grant, service, tally));
            kept = self.kept.load();
        }
        // Whoever goes to two services in turn does not look for the accounts of both in turn.
        let is_of_service = |kept: &&Arc<Kept>| kept.service == service.name;
        kept.as_ref().filter(is_of_now).filter(is_of_service)?;
        Some(kept)
    }
}

impl Accounts {
    fn keep(&self, kept: Kept) {
        let first = kept.accounts().and_then(<[Account]>::first);
        let name = first.map_or(0, |first| first.key.halves().1);
        self.name.store(name, Ordering::Relaxed);
        self.kept.store(Some(Arc::new(kept)));
    }

    /// Where the first one's slot is looked for: it takes long to fetch, and is not needed before what is kept.
    pub(super) fn place(&self) -> u64 {
        self.name.load(Ordering::Relaxed)
    }
}

impl Kept {
    pub fn accounts(&self) -> Option<&[Account]> {
        self.accounts.as_deref()
    }

    fn find(view: &View, grant: &Grant, service: &Service, tally: impl Fn(LimitId) -> Tally) -> Kept {
        let digests = Digests::of(Some(grant));
        let account = |of: &Arc<InForce>| Account {
            key: KeyHash::of_digests(
                of.digest,
                match of.limit.key {
                    CountedUnder::LimitKey => digests.limit_key,
                    CountedUnder::AuthToken | CountedUnder::ClientIp => digests.auth_token,
                },
            ),
            quota: Quota::from(&of.limit),
            tally: tally(of.limit.id),
        };
        let matching = view.table().limits_of_token(service.name.as_str(), &token(Some(grant)));
        let are_plain =
            |all: &SmallVec<_>| all.len() <= KEPT_MAX && all.iter().all(|of: &&Arc<InForce>| is_plain(&of.limit));
        Kept {
            limits_era: view.limits_era(),
            service: service.name.clone(),
            accounts: matching
                .filter(are_plain)
                .map(|all| all.into_iter().map(account).collect()),
        }
    }
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

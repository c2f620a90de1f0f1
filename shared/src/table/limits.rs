//! The limits of a table, and which of them a request counts for.
//!
//! ```text
//! everywhere, or of one service
//!   └── by token ── begins as … ── a tree, one step per difference
//!        │      └── anything else that is run ── sets of patterns, one pass each
//!        └ any token
//!            └── by path ── the same again
//!                 └ any path
//! ```
//!
//! So a look-up costs what it finds, and not what there is, but for patterns that have to be run.

mod asked;
mod beginnings;
mod bucket;
mod by_pattern;
mod index;
mod overriding;
mod rules;
mod runs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use imbl::OrdSet;
use smallvec::SmallVec;

use super::apply::{Edit, Step};
use super::index::HashMap;
use super::{Cause, Table};
use crate::change::Revision;
use crate::model::{Limit, LimitId, ServiceName};
use crate::quota::Digest;
use index::Index;

use asked::Checks;

pub use asked::Asked;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub limit: Limit,
    /// Of its last accepted change.
    pub revision: Revision,
    /// Its part of the names of its accounts.
    pub digest: Digest,
    checks: Checks,
}

impl InForce {
    /// Whether both have the same place in an index.
    fn is_beside(&self, other: &InForce) -> bool {
        let (own, other) = (&self.limit, &other.limit);
        (&own.service, &own.auth_token, &own.path) == (&other.service, &other.auth_token, &other.path)
    }
}

/// Ordered by id.
pub type Matching<'t> = SmallVec<[&'t Arc<InForce>; 8]>;

#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    by_id: HashMap<LimitId, Arc<InForce>>,
    everywhere: Index,
    of_service: HashMap<ServiceName, Index>,
    /// Where limits changed since what their look-up needs was compiled.
    cold: OrdSet<Option<ServiceName>>,
}

impl Limits {
    fn put(&mut self, limit: Arc<InForce>) {
        let before = self.by_id.insert(limit.limit.id, limit.clone());
        // A pattern that both have is to be there all the while, so that nothing is compiled anew.
        let stays = before.as_ref().is_some_and(|before| before.is_beside(&limit));
        if let Some(before) = before.as_ref().filter(|_| !stays) {
            self.take_out(before);
        }
        self.put_in(limit);
        if let Some(before) = before.as_ref().filter(|_| stays) {
            self.take_out(before);
        }
    }

    fn put_in(&mut self, limit: Arc<InForce>) {
        let service = limit.limit.service.clone();
        self.cold.insert(service.clone());
        match service {
            None => self.everywhere.put(limit),
            Some(service) => self.of_service.entry(service).or_default().put(limit),
        }
    }

    fn remove(&mut self, id: LimitId) {
        if let Some(held) = self.by_id.remove(&id) {
            self.take_out(&held);
        }
    }

    fn take_out(&mut self, held: &Arc<InForce>) {
        self.cold.insert(held.limit.service.clone());
        let Some(service) = &held.limit.service else {
            self.everywhere.remove(held);
            return;
        };
        let Some(index) = self.of_service.get_mut(service) else {
            return;
        };
        index.remove(held);
        if index.is_empty() {
            self.of_service.remove(service);
        }
    }

    /// Where a service's limits stand.
    fn of(&self, service: &str) -> impl Iterator<Item = &Index> {
        let of_service = match self.of_service.is_empty() {
            true => None,
            false => self.of_service.get(service),
        };
        std::iter::once(&self.everywhere).chain(of_service)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.everywhere.is_empty() && self.of_service.is_empty()
    }
}

fn settled(mut found: Matching<'_>) -> Matching<'_> {
    if found.len() > 1 {
        found.sort_unstable_by_key(|in_force| in_force.limit.id);
        overriding::settle(&mut found);
    }
    found
}

impl Table {
    /// The limits that a request counts for. A limit that overrides, is enforced, and is the most specific such of those
    /// that match and say the same of `service`, takes the place of the other ones; but for overriding ones that only
    /// observe and would be chosen before it.
    ///
    /// More specific is a token that is named, before how one begins, before one that a pattern has to be run for, before
    /// any; then the longer pattern of the token; then the same two of path, method and protocol; then the greater
    /// `data_size`; then the smaller id.
    pub fn limits(&self, asked: &Asked<'_>) -> Matching<'_> {
        let mut found = Matching::new();
        for index in self.limits.of(asked.service) {
            index.find(asked, &mut found);
        }
        settled(found)
    }

    /// Those that every request counts for that is routed to `service` with this token, where that is certain: none of the
    /// limits that it may count for asks about anything else.
    pub fn limits_of_token(&self, service: &str, auth_token: &str) -> Option<Matching<'_>> {
        let mut found = Matching::new();
        for index in self.limits.of(service) {
            index.find_by_token(auth_token, &mut found)?;
        }
        Some(settled(found))
    }

    pub fn limit(&self, id: LimitId) -> Option<&Arc<InForce>> {
        self.limits.by_id.get(&id)
    }

    /// Compiles what the next look-up of limits would compile. What did not change since the table was warmed that this
    /// one came from is shared with it.
    pub fn warm(&mut self) {
        for service in std::mem::take(&mut self.limits.cold) {
            let index = match service {
                None => Some(&self.limits.everywhere),
                Some(service) => self.limits.of_service.get(&service),
            };
            index.into_iter().for_each(Index::warm);
        }
    }
}

impl Edit {
    pub fn limit(&mut self, step: Step<'_>) {
        self.accept(&step.object);
        let Some(put) = step.put else {
            if let Ok(id) = LimitId::try_from(&*step.object.key) {
                self.table.limits.remove(id);
            }
            return;
        };
        match Limit::parse(&step.object.key, put.body.as_str()) {
            Ok(limit) => self.table.limits.put(Arc::new(InForce {
                checks: Checks::of(&limit),
                digest: Digest::of_limit(limit.id.0),
                limit,
                revision: step.revision,
            })),
            Err(invalid) => self.refuse(step.object, step.revision, Cause::Invalid(invalid)),
        }
    }
}

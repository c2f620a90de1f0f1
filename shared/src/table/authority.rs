//! What the table holds of an authorizer, with what was revoked there.

use std::sync::Arc;

use imbl::Vector;

use super::apply::{Edit, Step};
use super::index::HashMap;
use super::{Cause, Table};
use crate::change::Revision;
use crate::model::{Authorizer, AuthorizerName, Holder, Revocation};

/// Revocations that are told apart; what is older than all of them counts as revoked.
const REVOCATIONS_MAX: usize = 256;

pub(super) type Authorities = HashMap<AuthorizerName, Arc<Authority>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub authorizer: Arc<Authorizer>,
    /// Of the authorizer's last accepted change.
    pub revision: Revision,
    revocations: Revocations,
}

/// The last ones in their order; a table of a whole state knows one at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Revocations {
    last: Vector<(Revision, Arc<Revocation>)>,
    /// Of the last that is not among them any more.
    forgotten: Revision,
}

impl Authority {
    /// The revision of the last revocation. What was said under an older one may have been revoked since.
    pub fn generation(&self) -> Revision {
        let last = self.revocations.last.last();
        last.map_or(self.revocations.forgotten, |(revision, _)| *revision)
    }

    /// Whether what was said of `holder` under `generation`, in a table that this one follows, does not hold any more.
    pub fn is_revoked(&self, generation: Revision, holder: &Holder) -> bool {
        let Revocations { last, forgotten } = &self.revocations;
        let since = last.iter().rev().take_while(|(revision, _)| *revision > generation);
        generation < *forgotten || since.into_iter().any(|(_, revocation)| revocation.is_of(holder))
    }
}

impl Revocations {
    fn add(&mut self, revision: Revision, revocation: Revocation) {
        self.last.push_back((revision, revocation.into()));
        if self.last.len() > REVOCATIONS_MAX
            && let Some((revision, _)) = self.last.pop_front()
        {
            self.forgotten = revision;
        }
    }
}

impl Table {
    pub fn authority(&self, name: &AuthorizerName) -> Option<&Arc<Authority>> {
        self.authorities.get(name)
    }

    /// Whether its authorizers, and what was revoked there, are those of `other`. Says no when in doubt: it looks at what
    /// the two share, at the same price for any number.
    pub fn shares_authorities_with(&self, other: &Table) -> bool {
        self.authorities.ptr_eq(&other.authorities)
    }

    /// In no particular order.
    pub fn authorities(&self) -> impl Iterator<Item = &Arc<Authority>> {
        self.authorities.values()
    }
}

impl Edit {
    pub fn authorizer(&mut self, step: Step<'_>) {
        self.accept(&step.object);
        let Some(put) = step.put else {
            if let Ok(name) = AuthorizerName::try_from(&*step.object.key) {
                self.table.authorities.remove(&name);
            }
            return;
        };
        match Authorizer::parse(&step.object.key, put.body.as_str()) {
            Ok(authorizer) => {
                let old = self.table.authorities.get(&authorizer.name);
                let authority = Authority {
                    revision: step.revision,
                    revocations: old.map(|old| old.revocations.clone()).unwrap_or_default(),
                    authorizer: authorizer.into(),
                };
                let name = authority.authorizer.name.clone();
                self.table.authorities.insert(name, authority.into());
            }
            Err(invalid) => self.refuse(step.object, step.revision, Cause::Invalid(invalid)),
        }
    }

    /// One that cannot be read may be about anybody.
    pub fn revocation(&mut self, step: Step<'_>) {
        self.accept(&step.object);
        let Some(put) = step.put else { return };
        let revocation = Revocation::parse(put.body.as_str());
        let name = AuthorizerName::try_from(&*step.object.key).ok();
        if let Some(authority) = name.and_then(|name| self.table.authorities.get_mut(&name)) {
            let revocation = revocation.clone().unwrap_or(Revocation::All);
            Arc::make_mut(authority).revocations.add(step.revision, revocation);
        }
        if let Err(invalid) = revocation {
            self.refuse(step.object, step.revision, Cause::Invalid(invalid));
        }
    }
}

//! Putting services and their upstreams in and out of a table, with everything that is derived from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::{Candidate, Edit};
use super::entry::{Entry, Registered};
use super::rule::Rule;
use super::{Cause, Table};
use crate::change::ObjectKey;
use crate::model::{Service, ServiceName, Upstream, UpstreamId, UpstreamState};

impl Table {
    /// Takes a service's rules out.
    fn withdraw(&mut self, name: &str) {
        let Some(entry) = self.services.get(name) else { return };
        for rule in Rule::all(&entry.service, self.services.slot(name)) {
            self.hosts.remove(&rule);
            self.claims.remove(&rule);
        }
        self.recipients.remove(&entry.service);
    }

    /// Puts a service and its rules in, or nothing when one conflicts. It keeps the upstreams it has.
    fn claim(&mut self, Candidate { service, revision }: &Candidate) -> Result<(), Cause> {
        let name = service.name.as_str();
        let slot = self.services.slot(name);
        let rules: Vec<Arc<Rule>> = Rule::all(service, slot).collect();
        for rule in &rules {
            if let Some(with) = self.claims.conflict(rule) {
                return Err(Cause::Conflict {
                    with: with.clone(),
                    field: format!("match[{}]", rule.index()),
                });
            }
        }
        if let Some((held, field)) = self.recipients.conflict(service, slot)
            && let Some(with) = self.services.at(held)
        {
            let with = with.service.name.clone();
            return Err(Cause::Taken { with, field });
        }
        self.recipients.insert(service, slot);
        for rule in &rules {
            self.hosts.insert(rule);
            self.claims.insert(rule);
        }
        let upstreams = self
            .services
            .get(name)
            .map(|entry| entry.upstreams.clone())
            .unwrap_or_default();
        self.services.put(Entry {
            service: service.clone(),
            revision: *revision,
            upstreams,
        });
        Ok(())
    }
}

impl Table {
    /// The services that stand in the way of this one: those whose matches it would share.
    pub fn rivals(&self, service: &Arc<Service>) -> BTreeSet<ServiceName> {
        let slot = self.services.slot(service.name.as_str());
        let rules: Vec<Arc<Rule>> = Rule::all(service, slot).collect();
        let by_match = rules.iter().flat_map(|rule| self.claims.conflicts(rule)).cloned();
        let by_recipient = self.recipients.conflicts(service, slot);
        let by_recipient = by_recipient.filter_map(|(held, _)| Some(self.services.at(held)?.service.name.clone()));
        by_match.chain(by_recipient).collect()
    }
}

impl Edit {
    /// Puts in the services of one revision, which may hand matches to one another.
    ///
    /// All old rules go before any new ones come. A service that conflicts keeps its last good form, and that may claim
    /// what another one just took: then the round is repeated without the refused ones, so every round has fewer.
    pub fn settle(&mut self, mut candidates: Vec<Candidate>) {
        loop {
            let mut table = self.table.clone();
            candidates
                .iter()
                .for_each(|candidate| table.withdraw(candidate.service.name.as_str()));
            let mut lost = Vec::new();
            candidates.retain(|candidate| match table.claim(candidate) {
                Ok(()) => true,
                Err(cause) => {
                    lost.push((candidate.service.name.clone(), candidate.revision, cause));
                    false
                }
            });
            let repeat = lost
                .iter()
                .any(|(name, _, _)| self.table.entry(name.as_str()).is_some());
            if !repeat {
                self.table = table;
            }
            for (name, revision, cause) in lost {
                self.refuse(ObjectKey::service(name.as_str()), revision, cause);
            }
            if !repeat {
                break;
            }
        }
        for candidate in candidates {
            self.adopt(&candidate.service.name);
            self.touch(&candidate.service.name);
        }
    }

    /// Gives a service the upstreams that waited for it.
    fn adopt(&mut self, name: &ServiceName) {
        for registered in self.table.upstreams.adopt(name) {
            let object = ObjectKey::upstream(name.as_str(), registered.upstream.id.as_str());
            if self
                .table
                .refused
                .get(&object)
                .is_some_and(|refusal| refusal.cause == Cause::Orphan)
            {
                self.accept(&object);
            }
            self.put_upstream((*registered).clone());
        }
    }

    /// Its upstreams stop being anyone's; whoever deletes a service deletes them in the same revision.
    pub fn delete_service(&mut self, name: &str) {
        self.table.withdraw(name);
        let Some(entry) = self.table.services.remove(name) else {
            return;
        };
        for registered in entry.upstreams.values() {
            self.table.upstreams.left(&registered.upstream);
            self.orphan(registered.clone());
        }
        self.touch(&entry.service.name);
    }

    pub fn put_upstream(&mut self, mut registered: Registered) {
        let Some(entry) = self.table.services.get_mut(registered.upstream.service.as_str()) else {
            self.orphan(Arc::new(registered));
            return;
        };
        // One copy of the name, however many upstreams.
        registered.upstream.service = entry.service.name.clone();
        let upstreams = &mut Arc::make_mut(entry).upstreams;
        if let Some(before) = upstreams.get(&registered.upstream.id)
            && before.upstream.state == UpstreamState::Active
        {
            registered.unbroken_since = before.unbroken_since.min(registered.registration);
        }
        let registered = Arc::new(registered);
        let before = upstreams.insert(registered.upstream.id.clone(), registered.clone());
        if let Some(before) = before {
            self.table.upstreams.left(&before.upstream);
        }
        self.touch(&registered.upstream.service);
        self.table.upstreams.came(registered);
    }

    fn orphan(&mut self, registered: Arc<Registered>) {
        let Upstream { service, id, .. } = &registered.upstream;
        let object = ObjectKey::upstream(service.as_str(), id.as_str());
        let revision = registered.revision;
        self.table.upstreams.park(registered);
        self.refuse(object, revision, Cause::Orphan);
    }

    pub fn delete_upstream(&mut self, service: &str, id: &str) {
        let (Ok(service), Ok(id)) = (ServiceName::try_from(service), UpstreamId::try_from(id)) else {
            return;
        };
        self.table.upstreams.forget(&service, &id);
        let held = self
            .table
            .entry(service.as_str())
            .is_some_and(|entry| entry.upstreams.contains_key(&id));
        if !held {
            return;
        }
        let Some(entry) = self.table.services.get_mut(service.as_str()) else {
            return;
        };
        if let Some(before) = Arc::make_mut(entry).upstreams.remove(&id) {
            self.table.upstreams.left(&before.upstream);
        }
        self.touch(&service);
    }
}

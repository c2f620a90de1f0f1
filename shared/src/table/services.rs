//! Putting services and their upstreams in and out of a table, with everything that is derived from them.

use std::sync::Arc;

use imbl::OrdMap;

use super::apply::{Candidate, Edit};
use super::entry::{Entry, Registered};
use super::rule::Rule;
use super::{Cause, Table};
use crate::change::{ObjectKey, Revision};
use crate::model::{Service, ServiceName, Upstream, UpstreamId};

impl Table {
    /// Takes a service's rules out.
    fn withdraw(&mut self, name: &str) {
        let Some(entry) = self.services.get(name) else { return };
        for rule in Rule::all(&entry.service) {
            self.hosts.remove(&rule);
            self.claims.remove(&rule);
        }
    }

    /// Puts a service's rules in: all or, when one conflicts, none.
    fn claim(&mut self, service: &Arc<Service>) -> Result<(), Cause> {
        let rules: Vec<Arc<Rule>> = Rule::all(service).collect();
        for rule in &rules {
            if let Some(with) = self.claims.conflict(rule) {
                return Err(Cause::Conflict {
                    with: with.clone(),
                    field: format!("match[{}]", rule.index()),
                });
            }
        }
        for rule in &rules {
            self.hosts.insert(rule);
            self.claims.insert(rule);
        }
        Ok(())
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
            candidates.retain(|candidate| match table.claim(&candidate.service) {
                Ok(()) => true,
                Err(cause) => {
                    lost.push((candidate.service.name.clone(), candidate.revision, cause));
                    false
                }
            });
            let repeat = lost.iter().any(|(name, _, _)| self.table.services.contains_key(name));
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
        candidates.into_iter().for_each(|candidate| self.enter(candidate));
    }

    fn enter(&mut self, Candidate { service, revision }: Candidate) {
        let name = service.name.clone();
        let upstreams = match self.table.services.get(&name) {
            Some(entry) => entry.upstreams.clone(),
            None => self.adopt(&name),
        };
        self.table.services.insert(
            name.clone(),
            Arc::new(Entry {
                service,
                revision,
                upstreams,
            }),
        );
        self.touched.insert(name);
    }

    /// The upstreams that waited for this service.
    fn adopt(&mut self, name: &ServiceName) -> OrdMap<UpstreamId, Arc<Registered>> {
        let waiting = self.table.upstreams.adopt(name);
        for Registered { upstream, .. } in waiting.iter().map(|registered| &**registered) {
            self.table.upstreams.came(upstream);
            let object = ObjectKey::upstream(name.as_str(), upstream.id.as_str());
            if self
                .table
                .refused
                .get(&object)
                .is_some_and(|refusal| refusal.cause == Cause::Orphan)
            {
                self.accept(&object);
            }
        }
        waiting
            .into_iter()
            .map(|registered| (registered.upstream.id.clone(), registered))
            .collect()
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
        self.touched.insert(entry.service.name.clone());
    }

    pub fn put_upstream(&mut self, upstream: Upstream, revision: Revision, registration: Revision) {
        let registered = Arc::new(Registered {
            upstream,
            revision,
            registration,
        });
        let Upstream { service, id, .. } = &registered.upstream;
        let Some(entry) = self.table.services.get_mut(service) else {
            self.orphan(registered);
            return;
        };
        let before = Arc::make_mut(entry).upstreams.insert(id.clone(), registered.clone());
        if let Some(before) = before {
            self.table.upstreams.left(&before.upstream);
        }
        self.table.upstreams.came(&registered.upstream);
        self.touched.insert(service.clone());
    }

    fn orphan(&mut self, registered: Arc<Registered>) {
        let Upstream { service, id, .. } = &registered.upstream;
        let object = ObjectKey::upstream(service.as_str(), id.as_str());
        let revision = registered.revision;
        self.table.upstreams.park(registered.clone());
        self.refuse(object, revision, Cause::Orphan);
    }

    pub fn delete_upstream(&mut self, service: &str, id: &str) {
        let (Ok(service), Ok(id)) = (ServiceName::try_from(service), UpstreamId::try_from(id)) else {
            return;
        };
        self.table.upstreams.forget(&service, &id);
        let held = self
            .table
            .services
            .get(&service)
            .is_some_and(|entry| entry.upstreams.contains_key(&id));
        if !held {
            return;
        }
        let Some(entry) = self.table.services.get_mut(&service) else {
            return;
        };
        if let Some(before) = Arc::make_mut(entry).upstreams.remove(&id) {
            self.table.upstreams.left(&before.upstream);
        }
        self.touched.insert(service);
    }
}

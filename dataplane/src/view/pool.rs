//! The endpoints of one service that may be chosen.

use std::sync::Arc;
use std::time::Instant;

use shared::change::Revision;
use shared::model::{Service, UpstreamId, UpstreamState};
use shared::stream::message::Busy;
use shared::table::Entry;

use crate::pipeline::affinity;
use crate::upstream::care::Care;
use crate::upstream::endpoint::{Endpoint, Identity};

#[derive(Clone)]
pub struct Candidate {
    pub endpoint: Arc<Endpoint>,
    pub weight: u16,
    /// The weights up to and including this one: a number below the last picks a candidate by its weight.
    pub(crate) up_to: u64,
    /// Of its id: by it keys are spread.
    pub(crate) seed: u64,
}

pub struct Pool {
    service: Arc<Service>,
    revision: Revision,
    care: Arc<Care>,
    /// In the order of their ids. Draining upstreams are not among them, those of weight 0 are.
    candidates: Box<[Candidate]>,
}

impl Pool {
    /// `care` is that of `old`, if there is one.
    pub(super) fn of(
        entry: &Entry,
        old: Option<&Pool>,
        care: Arc<Care>,
        new: impl Fn(Identity) -> Arc<Endpoint>,
    ) -> Pool {
        let active = entry
            .upstreams
            .values()
            .filter(|registered| registered.upstream.state == UpstreamState::Active);
        let mut up_to = 0;
        let candidates = active.map(|registered| {
            let upstream = &registered.upstream;
            let identity = Identity {
                service: upstream.service.clone(),
                id: upstream.id.clone(),
                address: upstream.address.clone(),
                registration: registered.registration,
            };
            let kept = old.and_then(|old| old.endpoint(&upstream.id)).filter(|kept| {
                // A store that was put back may name an identity again that has been retired here. One that is in use it
                // may keep, though it be of the history that is lost: what stands is in use in this one, too.
                *kept.identity() == identity && !kept.is_retired()
            });
            up_to += u64::from(upstream.weight);
            Candidate {
                endpoint: kept.cloned().unwrap_or_else(|| new(identity)),
                weight: upstream.weight,
                up_to,
                seed: affinity::hash(upstream.id.as_str()),
            }
        });
        let candidates: Box<[Candidate]> = candidates.collect();
        let taking = candidates.iter().filter(|candidate| candidate.weight > 0);
        care.resize(taking.count(), Instant::now());
        Pool {
            service: entry.service.clone(),
            revision: entry.revision,
            care,
            candidates,
        }
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Of the service's own last change; those of its upstreams leave it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn care(&self) -> &Arc<Care> {
        &self.care
    }

    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub fn endpoint(&self, id: &UpstreamId) -> Option<&Arc<Endpoint>> {
        self.candidate(id).map(|candidate| &candidate.endpoint)
    }

    pub fn candidate(&self, id: &UpstreamId) -> Option<&Candidate> {
        let found = self
            .candidates
            .binary_search_by(|candidate| candidate.endpoint.identity().id.cmp(id));
        found.ok().map(|at| &self.candidates[at])
    }

    /// Those with requests in flight.
    pub(super) fn busy(&self) -> impl Iterator<Item = Busy> {
        self.candidates.iter().filter_map(|candidate| candidate.endpoint.busy())
    }

    /// Those that `new` does not go on with.
    pub(super) fn left_out(&self, new: Option<&Pool>) -> impl Iterator<Item = Arc<Endpoint>> {
        self.candidates.iter().map(|old| &old.endpoint).filter_map(move |old| {
            let stays = new
                .and_then(|new| new.endpoint(&old.identity().id))
                .is_some_and(|new| Arc::ptr_eq(new, old));
            (!stays).then(|| old.clone())
        })
    }
}

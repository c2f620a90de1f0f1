//! The endpoints of one service that may be chosen.

use std::sync::Arc;
use std::time::Instant;

use shared::change::Revision;
use shared::model::{Service, UpstreamId, UpstreamState};
use shared::stream::message::Busy;
use shared::table::{Entry, Registered};

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
    /// It serves on for a registration of the same id that took its place and is not well yet.
    pub is_former: bool,
}

impl Candidate {
    fn place(&self) -> (&UpstreamId, bool) {
        (&self.endpoint.identity().id, self.is_former)
    }
}

pub struct Pool {
    service: Arc<Service>,
    revision: Revision,
    care: Arc<Care>,
    /// In the order of their ids, one that serves on for another behind that. Draining upstreams are not among them, those
    /// of weight 0 are.
    candidates: Box<[Candidate]>,
    formers: usize,
}

impl Pool {
    /// `care` is that of `old`, if there is one; `formers_max`: how many may serve on until who took their place is well.
    pub(super) fn new(
        entry: &Entry,
        old: Option<&Pool>,
        care: Arc<Care>,
        formers_max: usize,
        make: impl Fn(Identity) -> Arc<Endpoint>,
    ) -> Pool {
        let active = entry
            .upstreams
            .values()
            .filter(|registered| registered.upstream.state == UpstreamState::Active);
        let is_checked = entry.service.health_check.is_some();
        let (mut up_to, mut formers) = (0, 0);
        let mut candidates = Vec::with_capacity(entry.upstreams.len());
        for registered in active {
            let upstream = &registered.upstream;
            let identity = Identity {
                service: upstream.service.clone(),
                id: upstream.id.clone(),
                address: upstream.address.clone(),
                registration: registered.registration,
            };
            let kept = old.and_then(|old| {
                // A store that was put back may name an identity again that has been retired here. One that is in use it
                // may keep, though it be of the history that is lost: what stands is in use in this one, too.
                let mut in_use = old.of_id(&upstream.id);
                in_use.find(|kept| *kept.identity() == identity && !kept.is_retired())
            });
            let endpoint = kept.cloned().unwrap_or_else(|| make(identity));
            let former = old.filter(|_| is_checked && upstream.weight > 0 && formers < formers_max);
            let former = former.and_then(|old| old.serves_on_for(registered, &endpoint)).cloned();
            formers += usize::from(former.is_some());
            for (endpoint, is_former) in [(Some(endpoint), false), (former, true)] {
                let Some(endpoint) = endpoint else { continue };
                up_to += u64::from(upstream.weight);
                candidates.push(Candidate {
                    endpoint,
                    weight: upstream.weight,
                    up_to,
                    seed: affinity::hash(upstream.id.as_str()),
                    is_former,
                });
            }
        }
        let taking = candidates.iter().filter(|one| one.weight > 0 && !one.is_former);
        care.resize(taking.count(), Instant::now());
        Pool {
            service: entry.service.clone(),
            revision: entry.revision,
            care,
            candidates: candidates.into(),
            formers,
        }
    }

    /// Who goes on for a registration at `endpoint` while that warms: whoever takes requests for one whose place it took,
    /// directly or through others that never were well. One whose checks fail now may be well again before the new one is.
    fn serves_on_for(&self, registered: &Registered, endpoint: &Arc<Endpoint>) -> Option<&Arc<Endpoint>> {
        let current = self.candidate(&registered.upstream.id)?;
        let former = || self.find(&registered.upstream.id, true).map(|one| &one.endpoint);
        if Arc::ptr_eq(&current.endpoint, endpoint) {
            return former().filter(|_| endpoint.is_warming());
        }
        let has_served = current.weight > 0 && !current.endpoint.is_warming();
        let serving = if has_served { Some(&current.endpoint) } else { former() };
        serving.filter(|one| one.identity().registration >= registered.unbroken_since && !Arc::ptr_eq(one, endpoint))
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

    /// Those that are registered.
    pub fn registered(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let current = self.candidates.iter().filter(|one| !one.is_former);
        current.map(|one| &one.endpoint)
    }

    /// Those that serve on until who took their place is well.
    pub fn formers(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let formers = self.candidates.iter().filter(|one| one.is_former);
        formers.map(|one| &one.endpoint)
    }

    pub(super) fn formers_count(&self) -> usize {
        self.formers
    }

    /// Whether one of them serves on for nothing.
    pub(super) fn has_handed_over(&self) -> bool {
        self.formers().any(|former| {
            let current = self.endpoint(&former.identity().id);
            current.is_none_or(|current| !current.is_warming())
        })
    }

    pub(super) fn has(&self, endpoint: &Arc<Endpoint>) -> bool {
        let mut of_id = self.of_id(&endpoint.identity().id);
        of_id.any(|one| Arc::ptr_eq(one, endpoint))
    }

    /// Who is registered by this id, and who serves on for it.
    fn of_id(&self, id: &UpstreamId) -> impl Iterator<Item = &Arc<Endpoint>> {
        let places = [false, true].map(|is_former| self.find(id, is_former));
        places.into_iter().flatten().map(|one| &one.endpoint)
    }

    pub fn endpoint(&self, id: &UpstreamId) -> Option<&Arc<Endpoint>> {
        self.candidate(id).map(|candidate| &candidate.endpoint)
    }

    /// That is registered by this id.
    pub fn candidate(&self, id: &UpstreamId) -> Option<&Candidate> {
        self.find(id, false)
    }

    fn find(&self, id: &UpstreamId, is_former: bool) -> Option<&Candidate> {
        let found = self
            .candidates
            .binary_search_by(|candidate| candidate.place().cmp(&(id, is_former)));
        found.ok().map(|at| &self.candidates[at])
    }

    /// Those of the registered with requests in flight; who serves on is told of with those that drain.
    pub(super) fn busy(&self) -> impl Iterator<Item = Busy> {
        self.registered().filter_map(|endpoint| endpoint.busy())
    }

    /// Those that `new` does not go on with.
    pub(super) fn left_out(&self, new: Option<&Pool>) -> impl Iterator<Item = Arc<Endpoint>> {
        self.candidates.iter().map(|old| &old.endpoint).filter_map(move |old| {
            let stays = new.is_some_and(|new| new.has(old));
            (!stays).then(|| old.clone())
        })
    }
}

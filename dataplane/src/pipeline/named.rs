//! Upstreams that an authorizer named for a request.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use shared::model::{Address, Service};

use super::dice::roll;
use super::{Admitted, Tried, Verdict, balance};
use crate::authorizer::Target;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::Standing;
use crate::view::{Candidate, Pool, View};

/// Whoever is registered: a name or an address without a registration takes nothing.
pub(super) fn choose(
    view: &View,
    target: &Target,
    admitted: &Admitted,
    tried: &Tried,
) -> Result<Arc<Endpoint>, Verdict> {
    match target {
        Target::Service(name) => balance::choose(view.pool(name).ok_or(NOBODY)?, admitted.key(), tried),
        Target::Addresses(addresses) => among(view, addresses, admitted.service(), tried),
    }
}

const NOBODY: Verdict = Verdict::NoUpstream {
    retry_after: balance::RETRY_AFTER,
};

/// The least loaded of those that stand best, by chance where several are; one that was tried only while no other is left,
/// and one of a service that is held never.
fn among(view: &View, addresses: &[Address], service: &Service, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    let standing = |candidate: &Candidate| candidate.endpoint.health().standing(Instant::now);
    let registered = addresses.iter().filter_map(|address| at(view, address, service));
    let (held, free): (Vec<_>, Vec<_>) = registered.partition(|(pool, _)| pool.care().is_held());
    let usable: Vec<(&Pool, &Candidate, Standing)> = free
        .into_iter()
        .map(|(pool, candidate)| (pool, candidate, standing(candidate)))
        .filter(|(_, candidate, standing)| candidate.weight > 0 && *standing != Standing::Down)
        .collect();
    if usable.is_empty() {
        return Err(if held.is_empty() { NOBODY } else { Verdict::Held });
    }
    let first = usize::try_from(roll(usable.len() as u64)).unwrap_or(0);
    let turned = usable[first..].iter().chain(&usable[..first]);
    let with_room = turned.filter(|(pool, candidate, _)| {
        let most = pool.service().upstream_care.max_in_flight;
        candidate.endpoint.has_room(most)
    });
    let best = with_room.min_by_key(|(_, candidate, standing)| {
        let endpoint = &candidate.endpoint;
        (tried.contains(endpoint), Reverse(*standing), endpoint.in_flight())
    });
    best.map(|(_, candidate, _)| candidate.endpoint.clone())
        .ok_or(Verdict::Busy)
}

/// Of several registrations of an address that of the request's own service goes first.
fn at<'a>(view: &'a View, address: &Address, service: &Service) -> Option<(&'a Pool, &'a Candidate)> {
    let registrations = view.table().at(address);
    let active = registrations.filter_map(|(name, id)| {
        let pool = view.pool(name)?;
        Some((*name != service.name, pool, pool.candidate(id)?))
    });
    let (_, pool, candidate) = active.min_by_key(|(is_other, _, _)| *is_other)?;
    Some((pool, candidate))
}

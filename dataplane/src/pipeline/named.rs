//! Upstreams that an authorizer named for a request.

use std::sync::Arc;
use std::time::Instant;

use shared::model::{Address, Service};

use super::balance;
use super::dice::roll;
use super::tier::Tier;
use super::{Admitted, Tried, Verdict};
use crate::authorizer::Target;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::stray;
use crate::view::{Candidate, Pool, View};

/// Whoever is registered: a name without a registration takes nothing, an address without one only where its authorizer
/// may name such.
pub(super) fn choose(
    view: &View,
    target: &Target,
    admitted: &Admitted,
    tried: &Tried,
) -> Result<Arc<Endpoint>, Verdict> {
    let service = admitted.service();
    match target {
        Target::Service(name) => balance::choose(view.pool(name).ok_or(NOBODY)?, admitted.key(), tried),
        Target::Registered(addresses) => among(view, addresses, service, tried, Tier::Paused),
        Target::Any(addresses) => any(view, addresses, service, tried),
    }
}

/// A registered one before any other, unless it is one that takes no connections.
fn any(view: &View, addresses: &[Address], service: &Service, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    for worst in [Tier::Ejected, Tier::Paused] {
        match among(view, addresses, service, tried, worst) {
            Err(Verdict::NoUpstream { .. }) => {}
            // What a registered one has no place for is not for another.
            outcome => return outcome,
        }
        if let Some(chosen) = astray(view, addresses, service, tried, worst)? {
            return Ok(chosen);
        }
    }
    Err(NOBODY)
}

const NOBODY: Verdict = Verdict::NoUpstream {
    retry_after: balance::RETRY_AFTER,
};

/// The least loaded of those that stand best, by chance where several are; one that was tried only while no other is left,
/// and one of a service that is held never.
fn among(
    view: &View,
    addresses: &[Address],
    service: &Service,
    tried: &Tried,
    worst: Tier,
) -> Result<Arc<Endpoint>, Verdict> {
    let registered = addresses.iter().filter_map(|address| at(view, address, service));
    let (held, free): (Vec<_>, Vec<_>) = registered.partition(|(pool, _)| pool.care().is_held());
    let usable: Vec<(&Pool, &Candidate, Tier)> = free
        .into_iter()
        .filter(|(_, candidate)| candidate.weight > 0)
        .filter_map(|(pool, candidate)| {
            Some((
                pool,
                candidate,
                tier(&candidate.endpoint, pool.service(), tried, worst)?,
            ))
        })
        .collect();
    if usable.is_empty() {
        return Err(if held.is_empty() { NOBODY } else { Verdict::Held });
    }
    let with_room = turned(&usable).filter(|(pool, candidate, _)| {
        let most = pool.service().upstream_care.max_in_flight;
        candidate.endpoint.has_room(most)
    });
    let best = with_room.min_by_key(|(_, candidate, tier)| {
        let endpoint = &candidate.endpoint;
        (tried.contains(endpoint), *tier, endpoint.in_flight())
    });
    let (_, candidate, _) = best.ok_or(Verdict::Busy)?;
    Ok(candidate.endpoint.clone())
}

/// As `among`, of those that nobody has registered; none if there is none. An endpoint is made for the chosen one alone.
fn astray(
    view: &View,
    addresses: &[Address],
    service: &Service,
    tried: &Tried,
    worst: Tier,
) -> Result<Option<Arc<Endpoint>>, Verdict> {
    let strays = view.strays();
    let most = service.upstream_care.max_in_flight;
    // A registration that takes nothing now, as one that drains, is one.
    let is_stray = |address: &&Address| view.table().at(address).next().is_none() && stray::is_of_a_server(address);
    let usable: Vec<(&Address, Option<Arc<Endpoint>>, Tier)> = addresses
        .iter()
        .filter(is_stray)
        .filter_map(|address| {
            let known = strays.known(&service.name, address);
            let tier = known
                .as_ref()
                .map_or(Some(Tier::Usual), |one| tier(one, service, tried, worst))?;
            Some((address, known, tier))
        })
        .collect();
    if usable.is_empty() {
        return Ok(None);
    }
    let with_room = turned(&usable).filter(|(_, known, _)| known.as_ref().is_none_or(|one| one.has_room(most)));
    let best = with_room.min_by_key(|(_, known, tier)| match known {
        None => (false, *tier, 0),
        Some(one) => (tried.contains(one), *tier, one.in_flight()),
    });
    let (address, _, _) = best.ok_or(Verdict::Busy)?;
    let pool = view.pool(&service.name).ok_or(Verdict::Stale)?;
    Ok(strays.endpoint(&service.name, address, pool.care()))
}

/// None if it is not to be used, not even where nobody better than `worst` is.
fn tier(endpoint: &Arc<Endpoint>, service: &Service, tried: &Tried, worst: Tier) -> Option<Tier> {
    let tier = Tier::of(endpoint, service, Instant::now)?;
    let is_new = tier < Tier::Paused || !tried.contains(endpoint);
    (tier <= worst && is_new).then_some(tier)
}

/// All of them, from any one on.
fn turned<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let first = usize::try_from(roll(all.len() as u64)).unwrap_or(0);
    all[first..].iter().chain(&all[..first])
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

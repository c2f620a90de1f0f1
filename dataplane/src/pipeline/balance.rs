//! Which of a service's upstreams takes the next request.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::model::{Balance, Service};

use super::dice::roll;
use super::tier::{TIERS, Tier};
use super::{Tried, Verdict, affinity};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::SHARE_WHOLE;
use crate::view::{Candidate, Pool};

/// Told to clients when nothing is known of when it would help to come again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One that was tried is chosen again only while no other is left, and one that took no connection never; one of a worse
/// tier only while there is nobody in a better one. Weight 0 takes nothing. While the service is held nothing is chosen,
/// however they are.
pub(super) fn choose(pool: &Pool, key: Option<u64>, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    if pool.care().is_held() {
        return Err(Verdict::Held);
    }
    let (all, service) = (pool.candidates(), pool.service());
    let most = service.upstream_care.max_in_flight;
    // Read once at most, however many upstreams are looked at.
    let clock = OnceCell::new();
    let now = || *clock.get_or_init(Instant::now);
    let tier_of = |one: &Candidate| Tier::of(&one.endpoint, service, now);
    for tier in TIERS {
        let fits = |one: &Candidate| tier_of(one) == Some(tier) && one.endpoint.has_room(most);
        let is_new = |one: &Candidate| !tried.contains(&one.endpoint);
        let mut chosen = select(service, all, key, now, |one| fits(one) && is_new(one));
        if tier < Tier::Paused {
            chosen = chosen.or_else(|| select(service, all, key, now, fits));
        }
        if let Some(chosen) = chosen {
            return Ok(chosen.clone());
        }
        // What one upstream may not have is not for a worse one.
        let is_full = |one: &Candidate| tier_of(one).is_some_and(|of| of <= tier) && !one.endpoint.has_room(most);
        if most.is_some() && all.iter().any(|one| one.weight > 0 && is_full(one)) {
            return Err(Verdict::Busy);
        }
    }
    Err(Verdict::NoUpstream {
        retry_after: soonest(all, now),
    })
}

fn select<'a>(
    service: &Service,
    all: &'a [Candidate],
    key: Option<u64>,
    now: impl Fn() -> Instant,
    wanted: impl Fn(&Candidate) -> bool,
) -> Option<&'a Arc<Endpoint>> {
    let slow_start = service.upstream_care.slow_start;
    let share = |one: &Candidate| one.endpoint.health().share(slow_start, &now);
    let chosen = match (&service.balance, key) {
        (Balance::ConsistentHash { .. }, Some(key)) => {
            return affinity::belongs_to(all, key, wanted, |one| due(one, &share));
        }
        (Balance::RoundRobin, _) => return next_in_turn(all, wanted, share),
        (Balance::Random, _) => draw(all, None, &wanted, &share),
        (Balance::LeastRequest | Balance::ConsistentHash { .. }, _) => less_loaded_of_two(all, &wanted, &share),
    };
    chosen.map(|chosen| &chosen.endpoint)
}

/// When the first of those that are marked down may be used again.
fn soonest(all: &[Candidate], now: impl Fn() -> Instant) -> Duration {
    let used = all.iter().filter(|candidate| candidate.weight > 0);
    let pauses = used.filter_map(|candidate| candidate.endpoint.health().pause(&now));
    pauses.min().unwrap_or(RETRY_AFTER)
}

/// Smooth weighted round robin, as nginx does it: everyone gains its weight, the richest is chosen and pays for all.
fn next_in_turn(
    all: &[Candidate],
    wanted: impl Fn(&Candidate) -> bool,
    share: impl Fn(&Candidate) -> u64,
) -> Option<&Arc<Endpoint>> {
    let mut total = 0;
    let mut richest: Option<(i64, &Arc<Endpoint>)> = None;
    for candidate in all.iter().filter(|one| one.weight > 0 && wanted(one)) {
        let weight = i64::try_from(due(candidate, &share)).unwrap_or(i64::MAX);
        let turn = candidate.endpoint.turn(weight);
        total += weight;
        if richest.is_none_or(|(most, _)| turn > most) {
            richest = Some((turn, &candidate.endpoint));
        }
    }
    let (_, chosen) = richest?;
    chosen.turn(-total);
    Some(chosen)
}

/// Draws before each is looked at: so many of what is not wanted, as of a service whose upstreams are mostly down; and so
/// many in all, as of one whose upstreams all begin slowly.
const UNWANTED_MAX: usize = 4;
const DRAWS_MAX: usize = 32;

/// One of the wanted, by weight, and not `but`. What is drawn from all is nearly always wanted; drawn again when it is not,
/// it is as likely as if only the wanted were there.
fn draw<'a>(
    all: &'a [Candidate],
    but: Option<&Candidate>,
    wanted: &impl Fn(&Candidate) -> bool,
    share: &impl Fn(&Candidate) -> u64,
) -> Option<&'a Candidate> {
    let left_out = but.map_or(0, |but| u64::from(but.weight));
    let total = all.last().map_or(0, |last| last.up_to) - left_out;
    if total == 0 {
        return None;
    }
    let mut unwanted = 0;
    for _ in 0..DRAWS_MAX {
        // As if the one that is left out were not in the list.
        let point = roll(total);
        let is_before = but.is_none_or(|but| point < but.up_to - left_out);
        let drawn = at(all, if is_before { point } else { point + left_out });
        if !wanted(drawn) {
            unwanted += 1;
            if unwanted == UNWANTED_MAX {
                break;
            }
        } else if is_due(share(drawn)) {
            return Some(drawn);
        }
    }
    let is_left = |one: &&Candidate| but.is_none_or(|but| !std::ptr::eq(*one, but)) && wanted(one);
    let left = || all.iter().filter(|one| one.weight > 0).filter(is_left);
    let total = left().map(|one| due(one, share)).sum();
    let mut point = if total > 0 { roll(total) } else { return None };
    let mut last = None;
    for one in left() {
        last = Some(one);
        match point.checked_sub(due(one, share)) {
            Some(rest) => point = rest,
            None => break,
        }
    }
    last
}

/// The power of two choices (Mitzenmacher 2001): two different ones by weight, then the one with less in flight for its
/// weight; the first when they are even, so that an idle service is used by weight as well.
fn less_loaded_of_two<'a>(
    all: &'a [Candidate],
    wanted: &impl Fn(&Candidate) -> bool,
    share: &impl Fn(&Candidate) -> u64,
) -> Option<&'a Candidate> {
    let first = draw(all, None, wanted, share)?;
    let Some(second) = draw(all, Some(first), wanted, share) else {
        return Some(first);
    };
    let load = |candidate: &Candidate, other: &Candidate| candidate.endpoint.in_flight() * due(other, share);
    match load(second, first) < load(first, second) {
        true => Some(second),
        false => Some(first),
    }
}

/// The weight of now, in thousandths.
fn due(one: &Candidate, share: &impl Fn(&Candidate) -> u64) -> u64 {
    u64::from(one.weight) * share(one)
}

/// True for that part of the throws.
fn is_due(share: u64) -> bool {
    share >= SHARE_WHOLE || roll(SHARE_WHOLE) < share
}

/// `point` is below the sum of all weights.
fn at(all: &[Candidate], point: u64) -> &Candidate {
    &all[all.partition_point(|candidate| candidate.up_to <= point)]
}

//! Which of a service's upstreams takes the next request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::model::Balance;

use super::dice::roll;
use super::{Tried, Verdict};
use crate::upstream::endpoint::Endpoint;
use crate::view::{Candidate, Pool};

/// Told to clients when nothing is known of when it would help to come again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One that was tried is chosen again only while no other is left, and one that is marked down never before its pause is
/// over. Weight 0 takes nothing.
pub(super) fn choose(pool: &Pool, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    let all = pool.candidates();
    let fresh = |candidate: &Candidate| is_usable(candidate) && !tried.contains(&candidate.endpoint);
    let chosen = match pool.service().balance {
        Balance::RoundRobin => next_in_turn(all, fresh)
            .or_else(|| next_in_turn(all, is_usable))
            .cloned(),
        Balance::Random => by_chance(all, fresh, draw),
        Balance::LeastRequest => by_chance(all, fresh, less_loaded_of_two),
    };
    chosen.ok_or_else(|| Verdict::NoUpstream {
        retry_after: soonest(all),
    })
}

fn is_usable(candidate: &Candidate) -> bool {
    candidate.weight > 0 && candidate.endpoint.health().is_up()
}

/// When the first of those that are marked down may be used again.
fn soonest(all: &[Candidate]) -> Duration {
    let used = all.iter().filter(|candidate| candidate.weight > 0);
    let pauses = used.filter_map(|candidate| candidate.endpoint.health().pause(Instant::now));
    pauses.min().unwrap_or(RETRY_AFTER)
}

/// Smooth weighted round robin, as nginx does it: everyone gains its weight, the richest is chosen and pays for all.
fn next_in_turn(all: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Option<&Arc<Endpoint>> {
    let mut total = 0;
    let mut richest: Option<(i64, &Arc<Endpoint>)> = None;
    for candidate in all.iter().filter(|candidate| wanted(candidate)) {
        let weight = i64::from(candidate.weight);
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

/// What is drawn from all is nearly always wanted; only when it is not a list is made of what is.
fn by_chance(
    all: &[Candidate],
    fresh: impl Fn(&Candidate) -> bool,
    draw: impl Fn(&[Candidate]) -> Option<Drawn<'_>>,
) -> Option<Arc<Endpoint>> {
    let drawn = draw(all)?;
    if fresh(drawn.chosen) && drawn.other.is_none_or(&fresh) {
        return Some(drawn.chosen.endpoint.clone());
    }
    let lists = [only(all, fresh), only(all, is_usable)];
    let drawn = lists.iter().find_map(|list| draw(list))?;
    Some(drawn.chosen.endpoint.clone())
}

fn only(all: &[Candidate], wanted: impl Fn(&Candidate) -> bool) -> Vec<Candidate> {
    let mut up_to = 0;
    let wanted = all.iter().filter(|candidate| wanted(candidate));
    let cut_down = wanted.map(|candidate| {
        up_to += u64::from(candidate.weight);
        Candidate {
            up_to,
            ..candidate.clone()
        }
    });
    cut_down.collect()
}

struct Drawn<'a> {
    chosen: &'a Candidate,
    /// Whom it was compared with.
    other: Option<&'a Candidate>,
}

/// One, by weight.
fn draw(list: &[Candidate]) -> Option<Drawn<'_>> {
    let total = list.last().map_or(0, |last| last.up_to);
    (total > 0).then(|| Drawn {
        chosen: at(list, roll(total)),
        other: None,
    })
}

/// The power of two choices (Mitzenmacher 2001): two different ones by weight, then the one with less in flight for its
/// weight; the first when they are even, so that an idle service is used by weight as well.
fn less_loaded_of_two(list: &[Candidate]) -> Option<Drawn<'_>> {
    let first = draw(list)?.chosen;
    let total = list.last().map_or(0, |last| last.up_to);
    let weight = u64::from(first.weight);
    if total == weight {
        return Some(Drawn {
            chosen: first,
            other: None,
        });
    }
    // As if the first were not in the list.
    let point = roll(total - weight);
    let second = at(
        list,
        if point < first.up_to - weight {
            point
        } else {
            point + weight
        },
    );
    let load = |candidate: &Candidate, other: &Candidate| candidate.endpoint.in_flight() * u64::from(other.weight);
    match load(second, first) < load(first, second) {
        true => Some(Drawn {
            chosen: second,
            other: Some(first),
        }),
        false => Some(Drawn {
            chosen: first,
            other: Some(second),
        }),
    }
}

/// `point` is below the sum of all weights.
fn at(list: &[Candidate], point: u64) -> &Candidate {
    &list[list.partition_point(|candidate| candidate.up_to <= point)]
}

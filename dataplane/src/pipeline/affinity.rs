//! Which upstream a key belongs to: the same one on every proxy, and after every restart, as long as it is there and is
//! not overloaded.
//!
//! Highest random weight (Thaler and Ravishankar 1998), with weights as in Schindler's and with loads that are bounded
//! (Mirrokni, Thorup, Zadimoghaddam: Consistent hashing with bounded loads, 2016): a key goes to the first in its own
//! order that has no more than its part of all requests and a quarter. An upstream that goes leaves its keys to the others
//! evenly, and nobody else's move.

use std::sync::Arc;

use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::SHARE_WHOLE;
use crate::view::Candidate;

/// Of a key or an upstream's id. For good: another function would move all keys.
pub fn hash(text: &str) -> u64 {
    // FNV-1a, and its weak high bits mixed.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finalizer of SplitMix64.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// `due`: the weight of now, in thousandths. Looks at every candidate, and at few of their upstreams.
pub(super) fn belongs_to(
    all: &[Candidate],
    key: u64,
    wanted: impl Fn(&Candidate) -> bool,
    due: impl Fn(&Candidate) -> u64,
) -> Option<&Arc<Endpoint>> {
    let home = first(all, key, &wanted, &due)?;
    // Nobody's part is none at all.
    if home.endpoint.in_flight() == 0 {
        return Some(&home.endpoint);
    }
    let (mut requests, mut weights) = (1, 0);
    for one in all.iter().filter(|one| one.weight > 0 && wanted(one)) {
        requests += one.endpoint.in_flight();
        weights += due(one);
    }
    let is_within = |one: &Candidate| {
        let most = u128::from(requests) * u128::from(due(one)) * 5;
        u128::from(one.endpoint.in_flight()) < most.div_ceil(u128::from(weights.max(1)) * 4)
    };
    if is_within(home) {
        return Some(&home.endpoint);
    }
    let next = first(all, key, |one| wanted(one) && is_within(one), &due);
    // All are beyond only while others leave and come.
    Some(&next.unwrap_or(home).endpoint)
}

/// Of the wanted, the first in the key's own order.
fn first(
    all: &[Candidate],
    key: u64,
    wanted: impl Fn(&Candidate) -> bool,
    due: impl Fn(&Candidate) -> u64,
) -> Option<&Candidate> {
    let mut first: Option<(Place, &Candidate)> = None;
    for one in all.iter().filter(|one| one.weight > 0) {
        let whole = Place::of(key, one, u64::from(one.weight) * SHARE_WHOLE);
        // Most are behind even with all of their weight.
        if first.as_ref().is_some_and(|(least, _)| !whole.is_before(least)) || !wanted(one) {
            continue;
        }
        let place = Place::of(key, one, due(one));
        if first.as_ref().is_none_or(|(least, _)| place.is_before(least)) {
            first = Some((place, one));
        }
    }
    first.map(|(_, one)| one)
}

/// Where one stands in the order of a key: by `-ln(chance) / weight`, the least first.
struct Place {
    /// In (0, 1], by 53 bits.
    chance: f64,
    weight: u64,
}

impl Place {
    fn of(key: u64, one: &Candidate, weight: u64) -> Place {
        let chance = ((mix(key ^ one.seed) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Place { chance, weight }
    }

    /// Logarithms cost more than all the rest, and equal weights need none.
    fn is_before(&self, other: &Place) -> bool {
        match self.weight == other.weight {
            true => self.chance > other.chance,
            false => self.chance.ln() * other.weight as f64 > other.chance.ln() * self.weight as f64,
        }
    }
}

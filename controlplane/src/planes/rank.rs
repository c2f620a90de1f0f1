//! Rendezvous hashing: of several control planes, the one that ranks highest for a thing owns it. So one that comes or goes
//! moves nothing between the others.

use uuid::Uuid;

/// Compared among control planes for the same `thing`.
pub fn rank(plane: Uuid, thing: u64) -> (u64, Uuid) {
    let (high, low) = plane.as_u64_pair();
    (mix(high ^ mix(low ^ mix(thing))), plane)
}

/// The finish of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

//! Random choices of the request path: fast, per thread, and repeatable when seeded. Nothing secret rests on them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// Makes all later rolls of this thread the same for the same seed.
pub fn seed(seed: u64) {
    STATE.set(seed);
}

/// A number below `sides`, which must not be 0.
pub fn roll(sides: u64) -> u64 {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // The high half of the product: as even as 64 bits allow, without a division.
    ((u128::from(mixed) * u128::from(sides)) >> 64) as u64
}

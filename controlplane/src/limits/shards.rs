//! Which control plane owns which shard: the one with the highest hash of both, of those that are there. So one that comes
//! or goes moves no shards between others.

use shared::quota::{SHARDS, Shard};
use uuid::Uuid;

/// A bit for each shard of `own`.
pub fn share(own: Uuid, others: &[Uuid]) -> u64 {
    let is_own = |shard: &Shard| {
        let rank = rank(own, *shard);
        others.iter().all(|other| self::rank(*other, *shard) < rank)
    };
    (0..SHARDS).filter(is_own).fold(0, |bits, shard| bits | 1 << shard)
}

fn rank(plane: Uuid, shard: Shard) -> (u64, Uuid) {
    let (high, low) = plane.as_u64_pair();
    let mixed = mix(high ^ mix(low ^ mix(u64::from(shard))));
    (mixed, plane)
}

/// The finish of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(planes: &[Uuid]) -> Vec<u64> {
        let others = |own: &Uuid| planes.iter().filter(|plane| *plane != own).copied().collect::<Vec<_>>();
        planes.iter().map(|own| share(*own, &others(own))).collect()
    }

    #[test]
    fn each_shard_has_one_owner_and_only_those_of_who_left_move() {
        assert_eq!(share(Uuid::from_u128(1), &[]), u64::MAX);
        let planes: Vec<Uuid> = (1..=4).map(|n| Uuid::from_u128(n << 64 | n)).collect();
        let four = shares(&planes);
        assert_eq!(four.iter().fold(0, |all, own| all | own), u64::MAX);
        assert_eq!(four.iter().map(|own| own.count_ones()).sum::<u32>(), 64);
        assert!(four.iter().all(|own| (6..=28).contains(&own.count_ones())), "{four:?}");
        let three = shares(&planes[1..]);
        for (before, after) in four[1..].iter().zip(three) {
            assert_eq!(before & after, *before);
        }
    }
}

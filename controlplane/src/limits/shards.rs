//! Which control plane owns which shard, of those that are there.

use shared::quota::{SHARDS, Shard};
use uuid::Uuid;

use crate::planes::rank;

/// A bit for each shard of `own`.
pub fn share(own: Uuid, others: &[Uuid]) -> u64 {
    let is_own = |shard: &Shard| {
        let shard = u64::from(*shard);
        others.iter().all(|other| rank(*other, shard) < rank(own, shard))
    };
    (0..SHARDS).filter(is_own).fold(0, |bits, shard| bits | 1 << shard)
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

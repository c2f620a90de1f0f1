//! Of what the names of accounts are made.

use uuid::Uuid;

/// 128 bits of BLAKE3. An account's name is that of its limit and that of its key, one added to the other without carry:
/// so the long part is reckoned once for a limit and once for a key, and not for every request.
///
/// Two keys of one limit have two names, as long as their digests differ; and to find two pairs of a limit and a key whose
/// sums are equal takes about 2^64 tries, as it takes to find two keys of one digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    pub fn of_limit(limit: Uuid) -> Digest {
        Digest::of(b'l', limit.as_bytes())
    }

    /// Of what is counted under.
    pub fn of_key(key: &[u8]) -> Digest {
        Digest::of(b'k', key)
    }

    /// `kind`: so that no key has the digest of a limit.
    fn of(kind: u8, bytes: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(bytes);
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Digest(u128::from_be_bytes(digest))
    }

    pub(super) fn with(self, other: Digest) -> u128 {
        self.0 ^ other.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::quota::KeyHash;

    #[test]
    fn every_pair_has_a_name_of_its_own() {
        let limits = (0..50).map(Uuid::from_u128);
        let names: HashSet<KeyHash> = limits
            .flat_map(|limit| (0..50_u8).map(move |key| KeyHash::of(limit, &[key; 16])))
            .collect();
        assert_eq!(names.len(), 2_500);
        assert_ne!(Digest::of_limit(Uuid::nil()), Digest::of_key(Uuid::nil().as_bytes()));
    }

    #[test]
    fn the_halves_of_a_name_make_it() {
        let limit = Uuid::from_u128(7);
        let halves = KeyHash::of_digests(Digest::of_limit(limit), Digest::of_key(b"alice"));
        assert_eq!(halves, KeyHash::of(limit, b"alice"));
    }
}

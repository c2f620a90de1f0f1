//! One number that tells whether two folds of the log hold the same configuration.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::change::{Body, Kind, Revision};

/// The sum mod 2^256 of a hash of each live configuration object: independent of order, changed in O(1) per object.
/// On the wire: 64 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest([u64; 4]);

impl Digest {
    pub fn of_object(
        kind: &Kind,
        key: &str,
        revision: Revision,
        registration: Option<Revision>,
        body: &Body,
    ) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for part in [kind.as_str().as_bytes(), key.as_bytes(), body.as_str().as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&revision.0.to_le_bytes());
        hasher.update(&registration.map_or(u64::MAX, |r| r.0).to_le_bytes());
        let bytes = hasher.finalize();
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.as_bytes().chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            *limb = u64::from_le_bytes(word);
        }
        Digest(limbs)
    }

    pub fn add(&mut self, other: Digest) {
        let mut carry = false;
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = mine.overflowing_add(theirs);
            let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
            *mine = sum;
            carry = over | over_carry;
        }
    }

    pub fn remove(&mut self, other: Digest) {
        let mut borrow = false;
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            let (rest, under) = mine.overflowing_sub(theirs);
            let (rest, under_borrow) = rest.overflowing_sub(u64::from(borrow));
            *mine = rest;
            borrow = under | under_borrow;
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|limb| write!(f, "{limb:016x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let invalid = || serde::de::Error::custom("a digest is 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut limbs = [0; 4];
        for (index, limb) in limbs.iter_mut().enumerate() {
            let start = (3 - index) * 16;
            *limb = u64::from_str_radix(&text[start..start + 16], 16).map_err(|_| invalid())?;
        }
        Ok(Digest(limbs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> Digest {
        let body = Body::from_json("{}").unwrap();
        Digest::of_object(&Kind::Service, key, Revision(7), None, &body)
    }

    #[test]
    fn order_does_not_matter_and_removal_undoes() {
        let (mut forth, mut back) = (Digest::default(), Digest::default());
        for n in 0..100 {
            forth.add(object(&n.to_string()));
            back.add(object(&(99 - n).to_string()));
        }
        assert_eq!(forth, back);
        for n in 0..100 {
            assert_ne!(forth, Digest::default());
            forth.remove(object(&n.to_string()));
        }
        assert_eq!(forth, Digest::default());
    }

    #[test]
    fn survives_the_wire() {
        let digest = object("web");
        let wire = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&wire).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"12\"").is_err());
    }
}

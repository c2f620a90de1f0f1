//! The local log's records: length, checksum, and one change as JSON.
//!
//! ```text
//! | length: u32 LE | CRC-32 of the JSON: u32 LE | JSON |
//! ```

use shared::stream::message::Change;

/// A revision is at most 1 MiB; escapes and names come on top.
const LENGTH_MAX: usize = 8 << 20;
const HEAD: usize = 8;

pub(super) fn encode(change: &Change, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let json = serde_json::to_vec(change)?;
    into.extend_from_slice(&(json.len() as u32).to_le_bytes());
    into.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    into.extend_from_slice(&json);
    Ok(())
}

/// The records of a file up to the first that is not whole.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { rest: bytes, length: 0 }
    }

    /// Bytes of what was whole so far.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

impl Iterator for Records<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let (head, rest) = self.rest.split_at_checked(HEAD)?;
        let (length, sum) = head.split_at(HEAD / 2);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let sum = u32::from_le_bytes(sum.try_into().ok()?);
        let (json, rest) = rest.split_at_checked(length).filter(|_| length <= LENGTH_MAX)?;
        if crc32fast::hash(json) != sum {
            return None;
        }
        let change = serde_json::from_slice(json).ok()?;
        self.rest = rest;
        self.length += HEAD + length;
        Some(change)
    }
}

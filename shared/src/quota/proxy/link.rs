//! What a proxy and one incarnation of an owner have said to each other.

use std::collections::VecDeque;

use crate::quota::Label;
use crate::quota::message::{GrantId, Said};
use crate::time::Time;

/// Own messages whose send is remembered: a grant that names an older one is refused.
const SENDS_MAX: usize = 1_024;
/// Grants that are told apart; what is overtaken by so many is refused.
const SEEN_MAX: u64 = 1_024;

#[derive(Debug)]
pub struct Link {
    number: u64,
    sends: VecDeque<(u64, Time)>,
    /// The newest message of the owner.
    pub heard: u64,
    pub heard_when: Time,
    /// Label time when a message of this proxy was sent was at most that.
    pub latest: Option<(Label, Time)>,
    pub outbox: Vec<Said>,
    pub beat_at: Time,
    pub beat_due: bool,
    newest_grant: GrantId,
    /// Bit `id % SEEN_MAX`: whether that grant, one of the last so many, was seen or recalled.
    seen: Vec<u64>,
}

impl Link {
    pub fn new(now: Time) -> Link {
        Link {
            number: 0,
            sends: VecDeque::new(),
            heard: 0,
            heard_when: now,
            latest: None,
            outbox: Vec::new(),
            beat_at: now,
            beat_due: true,
            newest_grant: 0,
            seen: vec![0; SEEN_MAX as usize / 64],
        }
    }

    pub fn next_number(&mut self, now: Time) -> u64 {
        self.number += 1;
        self.sends.push_back((self.number, now));
        if self.sends.len() > SENDS_MAX {
            self.sends.pop_front();
        }
        self.number
    }

    pub fn sent_at(&self, number: u64) -> Option<Time> {
        let index = self.sends.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.sends[index].1)
    }

    /// Whether this grant was neither seen nor recalled before; from now on it was.
    pub fn see(&mut self, id: GrantId) -> bool {
        while self.newest_grant < id {
            // Those skipped may still come.
            self.newest_grant = if id - self.newest_grant > SEEN_MAX {
                id - SEEN_MAX
            } else {
                self.newest_grant + 1
            };
            let (word, bit) = place(self.newest_grant);
            self.seen[word] &= !bit;
        }
        let (word, bit) = place(id);
        if self.newest_grant - id >= SEEN_MAX || self.seen[word] & bit != 0 {
            return false;
        }
        self.seen[word] |= bit;
        true
    }
}

fn place(id: GrantId) -> (usize, u64) {
    let index = id % SEEN_MAX;
    ((index / 64) as usize, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_grant_is_seen_once_and_one_overtaken_by_too_many_never() {
        let mut link = Link::new(Time::ZERO);
        assert!(link.see(2) && link.see(1) && !link.see(2) && !link.see(1));
        assert!(link.see(1_024) && !link.see(1) && link.see(3));
        assert!(link.see(5_000) && !link.see(3_976) && link.see(3_977) && !link.see(5_000));
    }
}

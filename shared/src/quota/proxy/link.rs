//! What a proxy and one incarnation of an owner have said to each other.

use std::collections::VecDeque;

use crate::quota::message::{BATCH_MAX, GrantId, Said};
use crate::quota::{Label, shrink};
use crate::time::Time;

/// Own messages whose send is remembered: a grant that names an older one is refused.
const SENDS_MAX: usize = 1_024;
/// Grants that are told apart; what is overtaken by so many is refused.
const SEEN_MAX: u64 = 1_024;

#[derive(Debug)]
pub struct Link {
    sends: VecDeque<(u64, Time)>,
    /// The newest message of the owner.
    pub heard: u64,
    pub heard_when: Time,
    /// When it was heard last and could grant.
    pub able_when: Time,
    /// The owner's label time at that time, at the least.
    pub earliest: Option<(Label, Time)>,
    pub outbox: Vec<Said>,
    later: Later,
    pub beat_at: Time,
    pub beat_due: bool,
    newest_grant: GrantId,
    /// Bit `id % SEEN_MAX`: whether that grant, one of the last so many, was seen or recalled.
    seen: Vec<u64>,
}

/// What is used up is told with whatever else is said, or once it would be over: until then nobody could have it anyhow.
#[derive(Debug, Default)]
struct Later {
    /// Returns, and when each came about.
    returns: Vec<(Said, Time)>,
    due: Option<Time>,
}

impl Later {
    /// All of them, as of now.
    fn take(&mut self, now: Time) -> impl Iterator<Item = Said> + '_ {
        self.due = None;
        self.returns.drain(..).map(move |(mut said, at)| {
            let since = now.since(at);
            if let Said::Return { age, earlier, .. } = &mut said {
                *age += since;
                earlier.iter_mut().for_each(|(_, age)| *age += since);
            }
            said
        })
    }
}

impl Link {
    pub fn new(now: Time) -> Link {
        Link {
            sends: VecDeque::new(),
            heard: 0,
            heard_when: now,
            able_when: now,
            earliest: None,
            outbox: Vec::new(),
            later: Later::default(),
            beat_at: now,
            beat_due: true,
            newest_grant: 0,
            seen: vec![0; SEEN_MAX as usize / 64],
        }
    }

    /// A message of that number, greater than any before, is sent.
    pub fn sent(&mut self, number: u64, now: Time) {
        self.sends.push_back((number, now));
        if self.sends.len() > SENDS_MAX {
            self.sends.pop_front();
        }
    }

    /// A message that was sent at `label` came in.
    pub fn prove(&mut self, label: Label, now: Time) {
        let known = self.earliest.map(|(label, at)| label.after(shrink(now.since(at))));
        if known.is_none_or(|known| known < label) {
            self.earliest = Some((label, now));
        }
    }

    /// Nothing that answers what was sent until now is good for anything.
    pub fn forget_sends(&mut self) {
        self.sends.clear();
    }

    /// Says that at `due` at the latest.
    pub fn say_later(&mut self, said: Said, due: Time, now: Time) {
        self.later.returns.push((said, now));
        let is_full = self.later.returns.len() >= BATCH_MAX;
        let due = if is_full { now } else { due };
        self.later.due = Some(self.later.due.map_or(due, |earlier| earlier.min(due)));
    }

    /// Says everything now that may wait.
    pub fn hurry(&mut self, now: Time) {
        self.later.due = self.later.due.map(|_| now);
    }

    /// Adds what may wait to what is said of accounts now, if anything is, or waits no longer.
    pub fn gather(&mut self, now: Time) {
        let is_of_account = |said: &Said| matches!(said, Said::Want(_) | Said::Return { .. });
        if self.outbox.iter().any(is_of_account) || self.later.due.is_some_and(|due| due <= now) {
            // Before what is wanted, so that what is free is reckoned with it.
            let said = std::mem::take(&mut self.outbox);
            self.outbox.extend(self.later.take(now));
            self.outbox.extend(said);
        }
    }

    /// The next of what is to be said, as much as one message takes. None: nothing is.
    pub fn take_batch(&mut self) -> Option<Vec<Said>> {
        let mut weight = 0;
        let fits = |said: &&Said| {
            weight += match said {
                Said::Census {
                    uses,
                    permits,
                    inherited,
                    ..
                } => 1 + uses.len() + permits.len() + inherited.as_ref().map_or(0, |of| of.testament.charges()),
                _ => 1,
            };
            weight <= BATCH_MAX
        };
        let fitting = self.outbox.iter().take_while(fits).count();
        match self.outbox.len() {
            0 => None,
            all if fitting == all => Some(std::mem::take(&mut self.outbox)),
            // What is too much alone goes alone.
            _ => Some(self.outbox.drain(..fitting.max(1)).collect()),
        }
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
    use crate::quota::message::{AccountId, KeyHash, Use};

    #[test]
    fn what_is_said_goes_in_messages_that_are_not_too_long() {
        let mut link = Link::new(Time::ZERO);
        let census = |uses: usize| Said::Census {
            shard: 0,
            epoch: 1,
            knows: None,
            began: None,
            earliest: None,
            oldest: None,
            uses: vec![USE; uses],
            weight: 0,
            permits: Vec::new(),
            inherited: None,
        };
        link.outbox = vec![
            census(9_000),
            census(3_000),
            census(1_000),
            census(1_000),
            census(1_000),
        ];
        link.outbox.extend(vec![census(0); 5_000]);
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(link.take_batch()?.len())).collect();
        assert_eq!(sizes, [1, 2, 2_096, 2_906]);
    }

    const USE: Use = Use {
        account: AccountId {
            limit: uuid::Uuid::nil(),
            key: KeyHash::LEAST,
        },
        tokens: 1,
        age: std::time::Duration::ZERO,
        bucket: Use::STANDBY,
    };

    #[test]
    fn each_grant_is_seen_once_and_one_overtaken_by_too_many_never() {
        let mut link = Link::new(Time::ZERO);
        assert!(link.see(2) && link.see(1) && !link.see(2) && !link.see(1));
        assert!(link.see(1_024) && !link.see(1) && link.see(3));
        assert!(link.see(5_000) && !link.see(3_976) && link.see(3_977) && !link.see(5_000));
    }
}

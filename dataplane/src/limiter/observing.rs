//! What passes under limits that only observe, until the owners are told. Each worker notes it in a map of its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::clock::monotonic_raw as raw;
use shared::quota::AccountId;
use shared::quota::proxy::Passed;
use shared::time::Time;

use crate::upstream::inflight::here;

/// Between two words to the owners: by so much their counts lag.
const EVERY: Duration = Duration::from_millis(250);
/// Accounts that one worker notes in that time.
const ACCOUNTS_MAX: usize = 8_192;
/// Workers beyond that share a cell.
const CELLS: usize = 64;

type Noted = HashMap<AccountId, Passed>;

pub struct Observing {
    cells: Box<[Mutex<Noted>]>,
}

/// When the owners are to be told next.
#[derive(Default)]
pub(super) struct Due(Time);

impl Observing {
    pub fn new(workers: usize) -> Observing {
        Observing {
            cells: (0..=workers.min(CELLS - 1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// A request passed that is worth so many tokens. False: of more accounts than can be noted.
    pub fn note(&self, account: AccountId, tokens: u64) -> bool {
        let now = raw();
        let Some(cell) = self.cells.get(here(self.cells.len().saturating_sub(1))) else {
            return false;
        };
        let mut noted = lock(cell);
        if noted.len() >= ACCOUNTS_MAX && !noted.contains_key(&account) {
            return false;
        }
        let passed = noted.entry(account).or_insert(Passed {
            account,
            requests: 0,
            tokens: 0,
            since: now,
            until: now,
        });
        passed.requests += 1;
        passed.tokens = passed.tokens.saturating_add(tokens);
        passed.until = now;
        true
    }

    /// What was noted, if it is time.
    pub(super) fn take(&self, due: &mut Due, now: Time) -> Vec<Passed> {
        if now < due.0 {
            return Vec::new();
        }
        due.0 = now + EVERY;
        let cells = self.cells.iter();
        cells
            .flat_map(|cell| std::mem::take(&mut *lock(cell)).into_values())
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| lock(cell).is_empty())
    }
}

fn lock(cell: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn accounts_without_number_are_not_noted_without_end() {
        let observing = Observing::new(0);
        let account = |n: usize| AccountId::of(Uuid::nil(), &n.to_be_bytes());
        for n in 0..ACCOUNTS_MAX {
            assert!(observing.note(account(n), 1));
        }
        assert!(!observing.note(account(ACCOUNTS_MAX), 1), "one too many");
        assert!(observing.note(account(0), 4), "it is noted already");
        let mut due = Due::default();
        let now = Time::from_nanos(1);
        let taken = observing.take(&mut due, now);
        assert_eq!(taken.len(), ACCOUNTS_MAX);
        let first = taken.iter().find(|passed| passed.account == account(0)).unwrap();
        assert_eq!((first.requests, first.tokens), (2, 5));
        assert!(observing.note(account(1), 1));
        assert!(observing.take(&mut due, now).is_empty(), "it is not time yet");
        assert!(!observing.is_empty());
    }
}

//! Requests that wait for their turn, a line for each account: first come, first served, as far as this proxy is concerned.
//!
//! Only the first of a line asks for tokens. A request stands in one line at most, so that no two wait for each other.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::quota::KeyHash;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// That may stand in line, for one account and for all.
const LINE_MAX: usize = 1_000;
const ALL_MAX: usize = 10_000;

#[derive(Default)]
pub struct Turns {
    lines: Mutex<Lines>,
    /// The proxy ends: nobody waits any longer.
    over: CancellationToken,
}

#[derive(Default)]
struct Lines {
    by_account: HashMap<KeyHash, Line>,
    all: usize,
    last: u64,
}

#[derive(Default)]
struct Line {
    /// Ascending.
    places: VecDeque<Place>,
    /// That they wait for.
    tokens: u64,
}

struct Place {
    number: u64,
    tokens: u32,
    called: Arc<Notify>,
}

/// A place in line, until it is dropped: also when the client has gone.
pub struct Turn {
    turns: Arc<Turns>,
    key: KeyHash,
    number: u64,
    called: Arc<Notify>,
}

/// Why a request does not wait, or not any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// As many wait as may.
    Full,
    /// Those ahead take all that there can be in time.
    Hopeless,
    /// The time is over.
    Late,
    /// The proxy ends.
    Over,
}

impl Turns {
    /// Whether somebody waits for this account.
    pub fn is_waited_for(&self, key: KeyHash) -> bool {
        self.lock().by_account.contains_key(&key)
    }

    /// Behind those who wait. `tokens_max`: so many there can be at most while it would wait.
    pub fn join(self: &Arc<Turns>, key: KeyHash, tokens: u32, tokens_max: u64) -> Result<Turn, NoTurn> {
        let mut lines = self.lock();
        if self.over.is_cancelled() {
            return Err(NoTurn::Over);
        }
        if lines.all >= ALL_MAX {
            return Err(NoTurn::Full);
        }
        lines.last += 1;
        let number = lines.last;
        let line = lines.by_account.entry(key).or_default();
        if line.places.len() >= LINE_MAX {
            return Err(NoTurn::Full);
        }
        if !line.places.is_empty() && line.tokens + u64::from(tokens) > tokens_max {
            return Err(NoTurn::Hopeless);
        }
        let called = Arc::new(Notify::new());
        if line.places.is_empty() {
            called.notify_one();
        }
        line.tokens += u64::from(tokens);
        line.places.push_back(Place {
            number,
            tokens,
            called: called.clone(),
        });
        lines.all += 1;
        Ok(Turn {
            turns: self.clone(),
            key,
            number,
            called,
        })
    }

    /// Ends all waits, for good.
    pub fn end(&self) {
        self.over.cancel();
    }

    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().all
    }

    fn leave(&self, key: KeyHash, number: u64) {
        let mut lines = self.lock();
        let Entry::Occupied(mut line) = lines.by_account.entry(key) else {
            return;
        };
        let Line { places, tokens } = line.get_mut();
        let Ok(at) = places.binary_search_by_key(&number, |place| place.number) else {
            return;
        };
        let left = places.remove(at);
        *tokens -= left.map_or(0, |left| u64::from(left.tokens));
        match places.front() {
            Some(next) if at == 0 => next.called.notify_one(),
            Some(_) => {}
            None => drop(line.remove()),
        }
        lines.all -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    pub fn key(&self) -> KeyHash {
        self.key
    }

    /// Until all who were ahead are gone.
    pub async fn comes(&self, until: Instant) -> Result<(), NoTurn> {
        tokio::select! {
            () = self.turns.over.cancelled() => Err(NoTurn::Over),
            called = timeout_at(until, self.called.notified()) => called.map_err(|_| NoTurn::Late),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.leave(self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn key(n: u8) -> KeyHash {
        KeyHash::of(Uuid::nil(), &[n])
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    async fn is_first(turn: &Turn) -> bool {
        turn.comes(Instant::now()).await.is_ok()
    }

    #[tokio::test]
    async fn the_first_is_called_and_after_it_the_next() {
        let turns = Arc::new(Turns::default());
        let join = || turns.join(key(1), 1, 9).unwrap();
        let (first, second, third) = (join(), join(), join());
        let other = turns.join(key(2), 1, 9).unwrap();
        assert!(is_first(&first).await && !is_first(&second).await && is_first(&other).await);
        // One that goes from the middle calls nobody.
        drop(second);
        assert!(!is_first(&third).await);
        drop(first);
        assert_eq!(third.comes(later()).await, Ok(()));
        drop((third, other));
        assert!(!turns.is_waited_for(key(1)) && turns.len() == 0);
    }

    #[tokio::test]
    async fn nobody_waits_in_vain() {
        let turns = Arc::new(Turns::default());
        let first = turns.join(key(1), 5, 3).unwrap();
        assert_eq!(turns.join(key(1), 3, 7).err(), Some(NoTurn::Hopeless));
        let second = turns.join(key(1), 2, 7).unwrap();
        assert_eq!(second.comes(Instant::now()).await, Err(NoTurn::Late));
        turns.end();
        assert_eq!(second.comes(later()).await, Err(NoTurn::Over));
        assert_eq!(turns.join(key(2), 1, 9).err(), Some(NoTurn::Over));
        drop((first, second));
        assert_eq!(turns.len(), 0);
    }

    #[test]
    fn lines_have_an_end() {
        let turns = Arc::new(Turns::default());
        let line = |n: u8| -> Vec<Turn> {
            (0..LINE_MAX)
                .map(|_| turns.join(key(n), 1, u64::MAX).unwrap())
                .collect()
        };
        let lines: Vec<Vec<Turn>> = (0..9).map(line).collect();
        assert_eq!(turns.join(key(0), 1, u64::MAX).err(), Some(NoTurn::Full));
        let last = line(9);
        assert_eq!(turns.join(key(10), 1, u64::MAX).err(), Some(NoTurn::Full));
        assert!(!turns.is_waited_for(key(10)));
        drop((lines, last));
        assert_eq!(turns.len(), 0);
    }
}

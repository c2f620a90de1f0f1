//! The permits at hand on one proxy: what requests take and give back, without the machine.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::quota::KeyHash;

/// Accounts of different parts do not wait for each other.
const PARTS: usize = 64;

/// Shared by all who decide and the machine.
#[derive(Debug)]
pub struct Gates(Box<[Mutex<HashMap<KeyHash, Gate>>]>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    pub level: u32,
    pub in_flight: u32,
    /// The most in flight since that was last asked.
    peak: u32,
    /// Somebody waits for one to be given back.
    is_watched: bool,
}

impl Gate {
    /// No more can be in flight until the level is raised.
    pub fn ceiling(&self) -> u32 {
        self.level.max(self.in_flight)
    }
}

impl Default for Gates {
    fn default() -> Gates {
        Gates((0..PARTS).map(|_| Mutex::default()).collect())
    }
}

impl Gates {
    /// Takes a permit, if there is one.
    pub fn enter(&self, key: KeyHash) -> bool {
        let mut part = self.part(key);
        let Some(gate) = part.get_mut(&key).filter(|gate| gate.in_flight < gate.level) else {
            return false;
        };
        gate.in_flight += 1;
        gate.peak = gate.peak.max(gate.in_flight);
        true
    }

    /// Gives back what `enter` took. Whether the machine has to know.
    #[must_use]
    pub fn leave(&self, key: KeyHash) -> bool {
        let mut part = self.part(key);
        let Some(gate) = part.get_mut(&key) else { return false };
        let was_beyond = gate.in_flight > gate.level;
        gate.in_flight = gate.in_flight.saturating_sub(1);
        std::mem::take(&mut gate.is_watched) || was_beyond
    }

    pub fn look(&self, key: KeyHash) -> Gate {
        self.part(key).get(&key).copied().unwrap_or_default()
    }

    pub(super) fn set_level(&self, key: KeyHash, level: u32) {
        self.part(key).entry(key).or_default().level = level;
    }

    /// The next that is given back is told.
    pub(super) fn watch(&self, key: KeyHash) {
        if let Some(gate) = self.part(key).get_mut(&key) {
            gate.is_watched = true;
        }
    }

    /// With the most that were in flight since this was last asked.
    pub(super) fn take_peak(&self, key: KeyHash) -> (Gate, u32) {
        match self.part(key).get_mut(&key) {
            Some(gate) => (*gate, std::mem::replace(&mut gate.peak, gate.in_flight)),
            None => Default::default(),
        }
    }

    /// If it has nothing and nothing is in flight.
    pub(super) fn remove(&self, key: KeyHash) -> bool {
        let mut part = self.part(key);
        let is_over = part.get(&key).is_none_or(|gate| gate.ceiling() == 0);
        if is_over {
            part.remove(&key);
        }
        is_over
    }

    fn part(&self, key: KeyHash) -> MutexGuard<'_, HashMap<KeyHash, Gate>> {
        let at = key.halves().1 as usize % PARTS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

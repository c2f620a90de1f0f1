//! How much of what callers sent may be held at a time: bodies are held until their request is answered, and thousands may
//! wait for the fleet.

use std::sync::Arc;

use net::problem::{self, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counted in these.
const UNIT: usize = 1 << 10;
/// 256 MiB.
const UNITS_MAX: usize = 256 << 10;

pub struct Room(Arc<Semaphore>);

/// Given back with its drop.
pub struct Place {
    _units: OwnedSemaphorePermit,
}

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(UNITS_MAX)))
    }
}

impl Room {
    /// Also an empty body takes a little.
    pub fn take(&self, bytes: usize) -> Result<Place, Problem> {
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(u32::MAX);
        let full = |_| Problem::new(problem::TOO_MANY_REQUESTS, "too much of what was sent waits to be done");
        let units = self.0.clone().try_acquire_many_owned(units).map_err(full)?;
        Ok(Place { _units: units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_has_a_limit_and_gives_its_place_back() {
        let room = Room::default();
        let held: Vec<Place> = (0..10_000).map_while(|_| room.take(1 << 20).ok()).collect();
        assert_eq!(held.len(), 255, "of a MiB and a little");
        let small: Vec<Place> = (0..10_000).map_while(|_| room.take(100).ok()).collect();
        assert_eq!(small.len(), 769);
        assert_eq!(room.take(0).err().map(|problem| problem.status), Some(429));
        drop(held);
        assert!(room.take(1 << 20).is_ok());
    }
}

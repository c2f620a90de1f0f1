use std::time::{SystemTime, UNIX_EPOCH};

use net::clock::monotonic_raw;
use shared::quota::Reading;

/// The clocks of a machine.
pub trait Clock: Send + Sync {
    fn read(&self) -> Reading;
}

/// Those of this one.
pub struct MachineClock;

impl Clock for MachineClock {
    fn read(&self) -> Reading {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Reading {
            mono: monotonic_raw(),
            wall: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

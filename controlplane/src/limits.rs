//! The owner of limits in this control plane: what `shared::quota::Owner` decides, between the proxies' streams, the
//! store, the log, and the owners in other control planes.
//!
//! One task drives it. Everything that comes from outside waits in bounded queues and may be lost there, as it may on its
//! way; but for the log, which is read in order, and the answers of the store, of which each call has one.

mod calls;
mod clock;
mod departures;
mod driver;
mod post;
mod sweep;

use std::sync::Arc;

use shared::quota::Settings;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::changelog::Changelog;
use crate::push::Fleet;
use crate::store::Cells;
use driver::Driver;

pub use clock::{Clock, MachineClock};

/// What proxies said and was not handled yet.
const HEARD_MAX: usize = 16_384;

/// What an owner needs.
pub struct Setup {
    pub changelog: Arc<Changelog>,
    pub fleet: Arc<Fleet>,
    pub cells: Arc<dyn Cells>,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
}

/// Until `stop`; then what is held is handed over.
pub async fn keep(setup: Setup, stop: CancellationToken) {
    let (said, heard) = mpsc::channel(HEARD_MAX);
    setup.fleet.hear_limits(said);
    Driver::new(setup, heard).run(stop).await;
}

#[cfg(test)]
mod tests;

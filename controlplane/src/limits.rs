//! The owner of limits in this control plane: what `shared::quota::Owner` decides, between the proxies' streams, the
//! store, the log, and the owners in other control planes.
//!
//! One task drives it. Everything that comes from outside waits in bounded queues and may be lost there, as it may on its
//! way; but for the log, which is read in order, and the answers of the store, of which each call has one.

pub mod asking;
mod calls;
mod clock;
mod departures;
mod driver;
mod link;
mod peers;
mod post;
mod relay;
mod shards;
mod sweep;

use std::sync::Arc;

use axum::Router;
use shared::quota::{Settings, Up};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::changelog::Changelog;
use crate::planes::Sharing;
use crate::push::Fleet;
use crate::store::Cells;
use asking::{Asking, Question};
use driver::Driver;
use peers::Incoming;
use relay::Relay;

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
    /// Where there can be other control planes.
    pub sharing: Option<Sharing>,
}

/// An owner that does not run yet.
pub struct Limits {
    setup: Setup,
    inbox: Inbox,
    incoming: mpsc::Sender<Incoming>,
    asking: Asking,
}

/// What comes to an owner from outside.
struct Inbox {
    heard: mpsc::Receiver<Box<Up>>,
    incoming: mpsc::Receiver<Incoming>,
    questions: mpsc::Receiver<Question>,
}

impl Limits {
    pub fn new(setup: Setup) -> Limits {
        let (said, heard) = mpsc::channel(HEARD_MAX);
        setup.fleet.hear_limits(said);
        let (incoming, told) = mpsc::channel(peers::INCOMING_MAX);
        let (questions, asked) = mpsc::channel(asking::QUESTIONS_MAX);
        let asking = Asking {
            questions,
            cells: setup.cells.clone(),
            clock: setup.clock.clone(),
            settings: setup.settings,
            credentials: setup
                .sharing
                .as_ref()
                .map(|sharing| sharing.credentials.clone())
                .unwrap_or_default(),
        };
        let inbox = Inbox {
            heard,
            incoming: told,
            questions: asked,
        };
        Limits {
            setup,
            inbox,
            incoming,
            asking,
        }
    }

    /// For whoever asks about single accounts.
    pub fn asking(&self) -> Asking {
        self.asking.clone()
    }

    /// What other control planes ask of this one. Streams end with `stop`.
    pub fn router(&self, stop: CancellationToken) -> Router {
        peers::router(self.incoming.clone(), self.asking.clone(), stop)
    }

    /// Until `stop`; then what is held is handed over.
    pub async fn keep(self, stop: CancellationToken) {
        let Setup { sharing, clock, .. } = &self.setup;
        let relay = sharing
            .as_ref()
            .map(|sharing| Relay::new(sharing, clock.clone(), self.incoming));
        Driver::new(self.setup, self.inbox, relay).run(stop).await;
    }
}

#[cfg(test)]
mod tests;

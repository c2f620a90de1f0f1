//! The fleet: every proxy's stream, who is on the roster, and the writes that wait for them.
//!
//! All decisions are the hub's (`shared::stream::hub`), behind one lock that is held for a few microseconds and never
//! across an await. What is here carries its words: lines to sockets, operations to the log, reports to waiting writes.

mod ask;
mod connection;
mod counting;
mod documents;
mod fleet;
mod forget;
pub mod join;
mod lag;
mod link;
mod outlet;
mod snapshot;

use std::mem::Discriminant;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use net::said::Said;
use tokio_util::sync::CancellationToken;

pub(crate) use link::Reader;

pub use fleet::Fleet;
pub use forget::{ForgetError, Forgotten};
pub use lag::Lag;
pub use shared::stream::hub::MemberView;

use shared::stream::hub::Refusal;
use snapshot::Snapshots;

/// What the routes share.
struct Push {
    fleet: Arc<Fleet>,
    snapshots: Snapshots,
    /// Of which proxy it was said why it is refused.
    refused: Said<Discriminant<Refusal>>,
    stop: CancellationToken,
}

/// `POST /v1/stream` and `GET /v1/snapshot`. Streams end with `stop`.
pub fn router(fleet: Arc<Fleet>, stop: CancellationToken) -> Router {
    let push = Arc::new(Push {
        fleet,
        snapshots: Snapshots::default(),
        refused: Said::default(),
        stop,
    });
    Router::new()
        .route("/v1/stream", post(connection::open))
        .route("/v1/snapshot", get(snapshot::show))
        .with_state(push)
}

#[cfg(test)]
pub(crate) mod tests;

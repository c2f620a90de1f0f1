//! The other control planes on a shared store: the own row kept fresh, the rows of the others read, and a stream to each
//! of them. What follows from all that is the hub's to say (`shared::stream::planes`).

mod asking;
mod hearing;
mod rank;
mod telling;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use net::clock::boottime;
use net::duplex::Credentials;
use shared::stream::planes::{PlaneId, Row};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use asking::upstreams;
pub use rank::rank;

use crate::changelog::Changelog;
use crate::push::Fleet;
use crate::store::Rows;

/// Between two refreshes of the own row, each followed by a read of all.
const ROWS_EVERY: Duration = Duration::from_millis(500);

/// How others are told where this one is, and what is shown to them.
#[derive(Clone)]
pub struct Sharing {
    pub id: PlaneId,
    /// `http://host:port`, or `https`.
    pub url: Arc<str>,
    pub credentials: Credentials,
    pub rows: Arc<dyn Rows>,
}

/// `POST /v1/peers` and `GET /v1/peers/upstreams/{proxy}`. Streams end with `stop`.
pub fn router(fleet: Arc<Fleet>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/v1/peers", post(telling::open))
        .route("/v1/peers/upstreams/{proxy}", get(asking::answer))
        .with_state(Arc::new(telling::Telling { fleet, stop }))
}

/// Until `stop`.
pub async fn keep(sharing: Sharing, changelog: Arc<Changelog>, fleet: Arc<Fleet>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(ROWS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard: HashMap<PlaneId, AbortOnDropHandle<()>> = HashMap::new();
    let mut beat = 0;
    let mut failed = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        beat += 1;
        let outcome = refresh(&sharing, beat, &changelog, &fleet).await;
        match &outcome {
            Err(error) if !failed => {
                tracing::warn!(
                    error,
                    "the row among the control planes cannot be refreshed: no lease is kept"
                );
            }
            Ok(()) if failed => tracing::info!("the row among the control planes is refreshed again"),
            _ => {}
        }
        failed = outcome.is_err();
        let alive = fleet.with(|hub| hub.roster().planes().alive(boottime()));
        let alive: HashMap<PlaneId, Arc<str>> = alive.unwrap_or_default().into_iter().collect();
        heard.retain(|id, task| alive.contains_key(id) && !task.is_finished());
        for (id, url) in alive {
            heard.entry(id).or_insert_with(|| {
                let hearing = hearing::Hearing::new(id, &url, &sharing, changelog.clone(), fleet.clone());
                AbortOnDropHandle::new(tokio::spawn(hearing.run()))
            });
        }
    }
}

/// The own row counts as refreshed once a read that began afterwards shows it, as others see it.
async fn refresh(sharing: &Sharing, beat: i64, changelog: &Changelog, fleet: &Fleet) -> Result<(), String> {
    let row = Row {
        id: sharing.id,
        url: sharing.url.clone(),
        beat,
    };
    let began = boottime();
    let written = sharing.rows.refresh(row, changelog.head().state.revision).await;
    let reading = boottime();
    let rows = sharing.rows.all().await.map_err(|error| error.to_string())?;
    let seen = rows.iter().any(|row| row.id == sharing.id && row.beat == beat);
    fleet.with(|hub| {
        hub.rows_read(&rows, reading, boottime());
        if written.is_ok() && seen {
            hub.row_written(began, boottime());
        }
    });
    match (written, seen) {
        (Ok(()), true) => Ok(()),
        (Ok(()), false) => Err("it was written, and is not there".to_owned()),
        (Err(error), _) => Err(error.to_string()),
    }
}

//! Members that leave without saying so.

use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use shared::stream::roster::Forget;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Fleet, join};
use crate::changelog::{Committed, WriteError};

/// Who removes members that were away for too long.
const ACTOR: &str = "forget-after";

#[derive(Debug)]
pub enum Forgotten {
    /// It was no member.
    Absent,
    Gone(Committed),
}

#[derive(Debug)]
pub enum ForgetError {
    /// It is connected, and would only join again.
    Present,
    /// Its lease runs for so long yet.
    Leased(Duration),
    Write(WriteError),
}

impl Fleet {
    /// Removes a member that is away; waits up to `timeout` for the end of its lease, and no longer than until `stop`.
    pub async fn forget(
        &self,
        name: &str,
        actor: Arc<str>,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<Forgotten, ForgetError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.with(|hub| hub.forget(name, boottime())).unwrap_or(Forget::Absent) {
                Forget::Absent => return Ok(Forgotten::Absent),
                Forget::Present => return Err(ForgetError::Present),
                Forget::Within(rest) if Instant::now() >= deadline || stop.is_cancelled() => {
                    return Err(ForgetError::Leased(rest));
                }
                Forget::Within(rest) => {
                    let over = deadline.min(Instant::now() + rest);
                    stop.run_until_cancelled(tokio::time::sleep_until(over)).await;
                }
                Forget::Now { instance } => {
                    let left = join::leave(&self.changelog, actor, name.into(), instance, false).await;
                    return left.map(Forgotten::Gone).map_err(ForgetError::Write);
                }
            }
        }
    }

    pub(super) async fn forget_all(self: Arc<Self>, gone: Vec<(Arc<str>, Uuid)>) {
        for (name, instance) in gone {
            tracing::info!(proxy = %name, "away for too long: forgotten");
            if let Err(error) = join::leave(&self.changelog, ACTOR.into(), name.clone(), instance, false).await {
                // The next tick tries again.
                tracing::warn!(proxy = %name, "a proxy could not be forgotten: {error}");
                return;
            }
        }
    }
}

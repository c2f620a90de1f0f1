//! A store made of a backup.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shared::change::{Commit, Epoch, Kind, ObjectKey, Op, OpId, Revision};
use shared::digest::Digest;
use shared::state::State;
use uuid::Uuid;

use crate::store::{self, AppendError, Log, OpenError, ReadError, RestoreError, StoreUrl};

/// Who consents that proxies of another store are taken over, in the history.
pub const ACTOR: &str = "restore";
/// A store that cannot be reached is waited for.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// Tries to learn what became of the consent.
const TRIES: usize = 30;
const AGAIN: Duration = Duration::from_millis(500);

/// What the store is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub revision: Revision,
    pub epoch: Epoch,
    pub digest: Digest,
    pub objects: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Away,
    Open(OpenError),
    Restore(RestoreError),
    /// The store is restored, and takes no proxies over yet.
    Consent(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Away => write!(f, "the store cannot be reached within {} s", OPEN_WITHIN.as_secs()),
            Error::Open(error) => error.fmt(f),
            Error::Restore(error) => error.fmt(f),
            Error::Consent(detail) => write!(
                f,
                "the store is restored, but does not succeed the epoch: {detail}. Start it, and POST /v1/fleet/succeed"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Fills the empty store with what a backup holds. It has an epoch of its own; with `succeed` it takes over the proxies of
/// that one, and of all that the backed up store had taken over.
pub async fn restore(url: &StoreUrl, mut snapshot: State, succeed: Option<Epoch>) -> Result<Restored, Error> {
    let opened = tokio::time::timeout(OPEN_WITHIN, store::open(url)).await;
    let log = opened.map_err(|_| Error::Away)?.map_err(Error::Open)?;
    if succeed.is_none() {
        // These were consents to another store.
        let successions: Vec<ObjectKey> = snapshot
            .objects
            .keys()
            .filter(|key| key.kind == Kind::Succession)
            .cloned()
            .collect();
        successions.into_iter().for_each(|key| snapshot.replace(key, None));
    }
    log.restore(Arc::new(snapshot)).await.map_err(Error::Restore)?;
    let unread = |error: ReadError| Error::Restore(error.into());
    let mut state = log.load().await.map_err(unread)?;
    if let Some(from) = succeed {
        consent(&*log, &state, from).await.map_err(Error::Consent)?;
        state = log.load().await.map_err(unread)?;
    }
    Ok(Restored {
        revision: state.revision,
        epoch: state.epoch,
        digest: state.digest,
        objects: state.objects.len(),
    })
}

async fn consent(log: &dyn Log, state: &State, from: Epoch) -> Result<(), String> {
    if from == state.epoch {
        return Err("that is the epoch of this very store".into());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let commit = Arc::new(Commit {
        revision: state.revision.next(),
        at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        actor: ACTOR.into(),
        op_id: OpId(Uuid::new_v4()),
        ops: vec![Op::succession(from, state.epoch)],
    });
    let mut outcome = log.append(state.revision, commit.clone()).await;
    for _ in 1..TRIES {
        match outcome {
            // The same commit again settles what became of it.
            Err(AppendError::Unknown(_) | AppendError::Unavailable(_)) => {
                tokio::time::sleep(AGAIN).await;
                outcome = log.append(state.revision, commit.clone()).await;
            }
            _ => break,
        }
    }
    outcome.map_err(|error| error.to_string())
}

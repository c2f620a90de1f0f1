//! The mark that this proxy's lives used no standby (`shared::quota::proxy`), on the disk.
//!
//! It stands in one file with the count of starts, so that neither is put back, or copied, without the other.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::directory::{INSTANCE, Instance};
use super::media::Media;
use crate::limiter::Limiter;

/// Between two attempts at a disk that cannot be written.
const AGAIN: Duration = Duration::from_secs(1);

pub struct Mark {
    media: Arc<dyn Media>,
    /// None: what it is will not be known to the next life, which then is another instance's.
    instance: Option<Instance>,
}

impl Mark {
    pub(super) fn new(media: Arc<dyn Media>, instance: Option<Instance>) -> Mark {
        Mark { media, instance }
    }

    pub fn is_set(&self) -> bool {
        self.instance.is_some_and(|instance| instance.is_unused)
    }

    /// Writes what the limiter asks for, for ever. `lock`: nobody else counts a start before a write is over.
    pub(super) async fn keep(self, limiter: Arc<Limiter>, lock: Arc<File>) {
        let mark = Arc::new(self);
        let mut has_failed = false;
        loop {
            let is_set = limiter.to_mark().await;
            let (writer, lock) = (mark.clone(), lock.clone());
            let write = move || {
                let written = writer.write(is_set);
                drop(lock);
                written
            };
            let Err(error) = spawn_blocking(write).await.unwrap_or_else(|error| Err(error.into())) else {
                limiter.marked(is_set);
                continue;
            };
            if !std::mem::replace(&mut has_failed, true) {
                tracing::warn!(
                    %error,
                    "the data directory cannot be written: while nobody can be asked, limits that share refuse"
                );
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn write(&self, is_set: bool) -> io::Result<()> {
        let Some(instance) = self.instance else { return Ok(()) };
        let marked = Instance {
            is_unused: is_set,
            ..instance
        };
        self.media.replace(INSTANCE, &serde_json::to_vec(&marked)?)
    }
}

#[cfg(test)]
mod tests;

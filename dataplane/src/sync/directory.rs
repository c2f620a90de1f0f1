//! The data directory: one proxy's alone, with the instance's identity and its count of starts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use shared::state::State;
use shared::stream::subscriber::Disk;
use uuid::Uuid;

use super::Error;
use super::mark::Mark;
use super::media::{Files, Media};
use super::store::Store;

/// JSON, in the directory's file of that name.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Instance {
    pub instance: Uuid,
    /// Starts so far.
    pub boot: u64,
    /// None of them used standby that may still count. An older version, which does not know of this, leaves it out when it
    /// counts a start.
    #[serde(default)]
    pub is_unused: bool,
}

pub(super) const INSTANCE: &str = "instance";

pub(super) struct Directory {
    /// Released with the process, however it ends.
    pub lock: File,
    pub begun: Begun,
}

/// What a start finds.
pub struct Begun {
    pub store: Store,
    pub instance: Uuid,
    pub boot: u64,
    pub mark: Mark,
    pub state: Option<State>,
    pub disk: Disk,
}

impl Directory {
    pub(super) fn open(path: PathBuf) -> Result<Directory, Error> {
        let lock = lock(&path)?;
        let media = Arc::new(Files::new(path.clone()));
        let begun = begin(media, Uuid::new_v4()).map_err(|error| Error::Directory { path, error })?;
        Ok(Directory { lock, begun })
    }
}

/// Counts a start, and loads what is stored. `fresh`: the instance that this is if none is known.
pub fn begin(media: Arc<dyn Media>, fresh: Uuid) -> io::Result<Begun> {
    let counted = count_start(&*media, fresh);
    let (mut store, mut state) = Store::open(media.clone())?;
    let mut disk = Disk::Good;
    let mark = Mark::new(media, counted.as_ref().ok().copied());
    let Instance { instance, boot, .. } = counted.unwrap_or_else(|error| {
        // Not known to be a restart, it is a new instance. What is stored must not be served, now or later: the
        // control plane could not tell this life's words from the last one's.
        tracing::error!(%error, "the boot counter cannot be written: nothing is served from disk");
        state = None;
        disk = match store.unlink() {
            Ok(()) => Disk::Lost,
            Err(_) => Disk::Stuck,
        };
        Instance {
            instance: fresh,
            boot: 0,
            is_unused: false,
        }
    });
    Ok(Begun {
        store,
        instance,
        boot,
        mark,
        state,
        disk,
    })
}

fn lock(path: &Path) -> Result<File, Error> {
    let failed = |error| Error::Directory {
        path: path.to_owned(),
        error,
    };
    fs::create_dir_all(path).map_err(failed)?;
    let directory = File::open(path).map_err(failed)?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|error| match io::Error::from(error) {
        error if error.kind() == io::ErrorKind::WouldBlock => Error::InUse { path: path.to_owned() },
        error => failed(error),
    })?;
    Ok(directory)
}

fn count_start(media: &dyn Media, fresh: Uuid) -> io::Result<Instance> {
    let known = match media.read(INSTANCE) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Instance {
            instance: fresh,
            boot: 0,
            is_unused: true,
        },
        Err(error) => return Err(error),
    };
    let counted = Instance {
        boot: known.boot.checked_add(1).ok_or(io::ErrorKind::InvalidData)?,
        ..known
    };
    media.replace(INSTANCE, &serde_json::to_vec(&counted)?)?;
    Ok(counted)
}

#[cfg(test)]
mod tests;

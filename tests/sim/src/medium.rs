//! A proxy's disk in memory, that fills up, turns read-only, and tears what is being written when the process dies.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dataplane::sync::media::Media;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Good,
    /// Takes nothing more; what is there can be removed.
    Full,
    /// Nothing can be changed.
    ReadOnly,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    condition: Condition,
    /// Of the next append only so much per cent arrives.
    tear: Option<u64>,
    torn: bool,
}

#[derive(Default)]
pub struct Medium(Mutex<Inner>);

impl Medium {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, condition: Condition) {
        self.inner().condition = condition;
    }

    /// The process dies within the next write.
    pub fn tear(&self, percent: u64) {
        self.inner().tear = Some(percent);
    }

    pub fn mend(&self) {
        self.inner().tear = None;
    }

    /// Whether a write was torn since the last time.
    pub fn take_torn(&self) -> bool {
        std::mem::take(&mut self.inner().torn)
    }
}

fn no_room() -> io::Error {
    io::Error::other("no room left")
}

impl Media for Medium {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.inner()
            .files
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let kept = match (inner.tear, inner.condition) {
            (Some(percent), _) => bytes.len() * percent as usize / 100,
            (None, Condition::Good) => bytes.len(),
            // A disk fills up in the middle of a record.
            (None, Condition::Full) => bytes.len() / 2,
            (None, Condition::ReadOnly) => return Err(no_room()),
        };
        let file = inner.files.entry(name.to_owned()).or_default();
        file.extend_from_slice(&bytes[..kept]);
        inner.torn |= kept < bytes.len();
        match kept == bytes.len() {
            true => Ok(()),
            false => Err(no_room()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        match (inner.tear, inner.condition) {
            (None, Condition::Good) => {
                inner.files.insert(name.to_owned(), bytes.to_vec());
                Ok(())
            }
            _ => Err(no_room()),
        }
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.condition == Condition::ReadOnly {
            return Err(no_room());
        }
        match inner.files.get_mut(name) {
            Some(file) => {
                file.truncate(length as usize);
                Ok(())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        match (inner.tear, inner.condition) {
            (None, Condition::Good | Condition::Full) => {
                inner.files.remove(name);
                Ok(())
            }
            _ => Err(no_room()),
        }
    }
}

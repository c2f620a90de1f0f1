//! A proxy's copy of the configuration: a snapshot, and the changes since.
//!
//! Files come in generations: `snapshot.<n>` and `log.<n>`, the changes that follow it. A compaction begins `log.<n+1>`,
//! writes `snapshot.<n+1>` aside, and then removes generation n: at any moment the newest snapshot and the logs from its
//! generation on are the whole.

use std::io;
use std::sync::Arc;

use shared::snapshot::{self, Limits, Scope};
use shared::state::State;
use shared::stream::message::Change;

use super::media::Media;
use super::record::{self, Records};

/// A log is folded into a snapshot once it is longer than this, and twice as long as the snapshot.
const LOG_MAX: u64 = 4 << 20;

/// No store counts so far; what follows a file with a larger number could not be counted.
const GENERATIONS_MAX: u64 = 1 << 63;

pub struct Store {
    media: Arc<dyn Media>,
    /// Of the log that is written to.
    generation: u64,
    logged: u64,
    snapshot_length: u64,
    compacting: bool,
}

/// To be run anywhere, and its result handed to [`Store::compacted`].
pub struct Compaction {
    media: Arc<dyn Media>,
    generation: u64,
    state: State,
}

impl Store {
    /// What is stored, or nothing; what cannot be read whole is removed, but for a torn tail, which is cut.
    pub fn open(media: Arc<dyn Media>) -> io::Result<(Store, Option<State>)> {
        let mut store = Store {
            media,
            generation: 0,
            logged: 0,
            snapshot_length: 0,
            compacting: false,
        };
        let (snapshots, logs) = (store.generations(SNAPSHOT)?, store.generations(LOG)?);
        store.generation = snapshots.iter().chain(&logs).max().copied().unwrap_or(0);
        let Some(newest) = snapshots.last().copied() else {
            store.unlink()?;
            return Ok((store, None));
        };
        let bytes = store.media.read(&name(SNAPSHOT, newest))?;
        store.snapshot_length = bytes.len() as u64;
        match snapshot::read(bytes.as_slice(), Limits::default()) {
            Ok(state) => {
                let state = store.replay(state, logs.into_iter().filter(|log| *log >= newest))?;
                store.remove_before(newest)?;
                Ok((store, Some(state)))
            }
            Err(error) => {
                tracing::error!(%error, "the local snapshot cannot be read, and is removed");
                store.unlink()?;
                Ok((store, None))
            }
        }
    }

    /// `logs`: the generations that there are, in order.
    fn replay(&mut self, mut state: State, logs: impl Iterator<Item = u64>) -> io::Result<State> {
        let mut whole = true;
        for generation in logs {
            let log = name(LOG, generation);
            // What follows a hole does not build on what is there.
            if !whole {
                self.media.remove(&log)?;
                continue;
            }
            let bytes = self.media.read(&log)?;
            let kept = follow(&mut state, &bytes);
            whole = kept == bytes.len();
            if !whole {
                tracing::warn!(log, kept, "the local log is cut behind its last whole record");
                self.media.truncate(&log, kept as u64)?;
            }
            self.logged += kept as u64;
        }
        Ok(state)
    }

    /// Holds `state` and nothing else.
    pub fn save(&mut self, state: &State) -> io::Result<()> {
        self.generation += 1;
        let bytes = encode(state)?;
        self.media.replace(&name(SNAPSHOT, self.generation), &bytes)?;
        self.snapshot_length = bytes.len() as u64;
        self.logged = 0;
        self.remove_before(self.generation)
    }

    /// Once it returns, a kill of the process does not take the changes back.
    pub fn write(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut bytes = Vec::new();
        changes
            .iter()
            .try_for_each(|change| record::encode(change, &mut bytes))?;
        self.media.append(&name(LOG, self.generation), &bytes)?;
        self.logged += bytes.len() as u64;
        Ok(())
    }

    /// Holds nothing. An error means that something may be left.
    pub fn unlink(&mut self) -> io::Result<()> {
        self.logged = 0;
        self.snapshot_length = 0;
        self.remove_before(u64::MAX)
    }

    /// What is to be done about a log that has become long. `state`: what is stored, no more and no less.
    pub fn compaction(&mut self, state: &State) -> Option<Compaction> {
        if self.compacting || self.logged <= LOG_MAX.max(2 * self.snapshot_length) {
            return None;
        }
        self.compacting = true;
        self.generation += 1;
        self.logged = 0;
        Some(Compaction {
            media: self.media.clone(),
            generation: self.generation,
            state: state.clone(),
        })
    }

    /// A failure leaves the old files, which are the whole as well.
    pub fn compacted(&mut self, result: io::Result<(u64, u64)>) {
        self.compacting = false;
        let removed = result.and_then(|(generation, length)| {
            self.snapshot_length = length;
            self.remove_before(generation)
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "the local log could not be compacted");
        }
    }

    fn remove_before(&self, generation: u64) -> io::Result<()> {
        // Snapshots last: a log without its snapshot is nothing, a snapshot without its log is old.
        for kind in [SNAPSHOT, LOG] {
            for old in self.generations(kind)?.into_iter().filter(|old| *old < generation) {
                self.media.remove(&name(kind, old))?;
            }
        }
        Ok(())
    }

    /// Of files under the very names that are written here, in order; others are left alone.
    fn generations(&self, kind: &str) -> io::Result<Vec<u64>> {
        let of = |file: String| {
            let generation: u64 = file.strip_prefix(kind)?.strip_prefix('.')?.parse().ok()?;
            (generation < GENERATIONS_MAX && name(kind, generation) == file).then_some(generation)
        };
        let mut generations: Vec<u64> = self.media.list()?.into_iter().filter_map(of).collect();
        generations.sort_unstable();
        Ok(generations)
    }
}

impl Compaction {
    /// The generation written, and the bytes of its snapshot.
    pub fn run(self) -> io::Result<(u64, u64)> {
        let bytes = encode(&self.state)?;
        self.media.replace(&name(SNAPSHOT, self.generation), &bytes)?;
        Ok((self.generation, bytes.len() as u64))
    }
}

const SNAPSHOT: &str = "snapshot";
const LOG: &str = "log";

fn name(kind: &str, generation: u64) -> String {
    format!("{kind}.{generation}")
}

fn encode(state: &State) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    snapshot::write(state, Scope::Configuration, &mut bytes)?;
    Ok(bytes)
}

/// Folds in what is whole and follows; answers how many bytes that was.
fn follow(state: &mut State, log: &[u8]) -> usize {
    let mut records = Records::new(log);
    let mut kept = 0;
    while let Some(change) = records.next().filter(|change| change.from <= state.configured) {
        fold(state, &change);
        kept = records.length();
    }
    kept
}

/// A log may begin before its snapshot ends: what is known already is passed over.
fn fold(state: &mut State, change: &Change) {
    if change.to > state.configured {
        state.apply_told(&change.ops, change.to);
        (state.revision, state.configured) = (change.to, change.to);
    }
}

#[cfg(test)]
mod tests;

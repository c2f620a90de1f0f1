//! A proxy's local store after anything that a kill, a disk or a hand may do to it: what is recovered is what stood after
//! one of the changes that were written, or nothing; recovering is repeatable; and what is written afterwards is kept.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use arbitrary::Arbitrary;
use dataplane::sync::directory;
use dataplane::sync::media::Media;
use dataplane::sync::store::Store;
use shared::change::Revision;
use shared::state::State;
use shared::stream::message::Change;
use uuid::Uuid;

use crate::log::Log;
use crate::operations::{Few, Step};

#[derive(Arbitrary, Debug)]
pub struct Input {
    revisions: Vec<Few<Step>>,
    /// After how many changes a whole snapshot is stored.
    saved: u8,
    damage: Few<Damage>,
    /// Files of any bytes, in place of what was written.
    files: Few<(File, Vec<u8>)>,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Cut {
        file: u8,
        to: u16,
    },
    Flip {
        file: u8,
        at: u16,
        bit: u8,
    },
    Zero {
        file: u8,
        from: u16,
    },
    /// The end again.
    Repeat {
        file: u8,
        from: u16,
    },
    Remove {
        file: u8,
    },
}

#[derive(Arbitrary, Debug)]
enum File {
    Snapshot(u64),
    Log(u64),
    Instance,
    Other(String),
}

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Media for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let files = self.0.lock().unwrap();
        files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        files
            .get_mut(name)
            .ok_or(io::ErrorKind::NotFound)?
            .truncate(length as usize);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(name);
        Ok(())
    }
}

pub fn check(input: Input) {
    let mut log = Log::new(7);
    for steps in input.revisions.iter().take(16) {
        log.commit(steps.0.iter().map(Step::op).filter(|op| op.kind.is_configuration()));
    }
    let media = Arc::new(Memory::default());
    let snapshot = write(&media, &log, usize::from(input.saved));
    for damage in &input.damage.0 {
        damage.strike(&media);
    }
    let recovered = open(&media);
    if let Some(state) = &recovered {
        let stood = log.at(state.configured).expect("a revision that was written");
        assert!(same(state, stood), "{} is not what stood there", state.configured);
        assert!(state.configured >= snapshot);
    }
    goes_on(&media, &log, recovered);
    scribbled(&media, &input.files.0);
}

/// Answers at which revision the snapshot was made.
fn write(media: &Arc<Memory>, log: &Log, saved: usize) -> Revision {
    let changes = log.changes();
    let (folded, logged) = changes.split_at(saved.min(changes.len()));
    let revision = folded.last().map_or(Revision::ZERO, |change| change.to);
    let (mut store, nothing) = Store::open(media.clone()).unwrap();
    assert!(nothing.is_none());
    store.save(log.at(revision).unwrap()).unwrap();
    for change in logged {
        store.write(std::slice::from_ref(change)).unwrap();
    }
    revision
}

fn open(media: &Arc<Memory>) -> Option<State> {
    let (_, state) = Store::open(media.clone()).unwrap();
    let files = media.0.lock().unwrap().clone();
    let (_, again) = Store::open(media.clone()).unwrap();
    assert_eq!(files, *media.0.lock().unwrap(), "a second start finds nothing to mend");
    match (&state, &again) {
        (Some(state), Some(again)) => assert!(same(state, again)),
        (state, again) => assert_eq!(state.is_some(), again.is_some()),
    }
    state
}

/// What is written behind what was recovered is there after the next start.
fn goes_on(media: &Arc<Memory>, log: &Log, recovered: Option<State>) {
    let Some(state) = recovered else { return };
    let (mut store, _) = Store::open(media.clone()).unwrap();
    let rest: Vec<Change> = log
        .changes()
        .into_iter()
        .filter(|change| change.to > state.configured)
        .collect();
    store.write(&rest).unwrap();
    let reached = open(media).expect("it was there a moment ago");
    assert!(same(&reached, log.head()));
}

fn same(left: &State, right: &State) -> bool {
    (left.epoch, left.configured, left.digest) == (right.epoch, right.configured, right.digest)
        && left.objects == right.objects
}

impl Damage {
    fn strike(&self, media: &Memory) {
        let mut files = media.0.lock().unwrap();
        let (Damage::Cut { file, .. }
        | Damage::Flip { file, .. }
        | Damage::Zero { file, .. }
        | Damage::Repeat { file, .. }
        | Damage::Remove { file }) = self;
        let Some(name) = files.keys().nth(usize::from(*file) % files.len().max(1)).cloned() else {
            return;
        };
        let Some(bytes) = files.get_mut(&name) else { return };
        let within = |at: &u16| usize::from(*at) % bytes.len().max(1);
        match self {
            Damage::Cut { to, .. } => bytes.truncate(within(to)),
            Damage::Flip { at, bit, .. } => {
                let at = within(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Damage::Zero { from, .. } => {
                let from = within(from);
                bytes[from..].fill(0);
            }
            Damage::Repeat { from, .. } => bytes.extend_from_within(within(from)..),
            Damage::Remove { .. } => drop(files.remove(&name)),
        }
    }
}

/// Any files at all are survived.
fn scribbled(media: &Arc<Memory>, files: &[(File, Vec<u8>)]) {
    for (file, bytes) in files {
        let name = match file {
            File::Snapshot(generation) => format!("snapshot.{generation}"),
            File::Log(generation) => format!("log.{generation}"),
            File::Instance => "instance".to_owned(),
            File::Other(name) => name.clone(),
        };
        media.replace(&name, bytes).unwrap();
    }
    let _ = directory::begin(media.clone(), Uuid::nil());
    let state = open(media);
    let (mut store, _) = Store::open(media.clone()).unwrap();
    if let Some(state) = state {
        store.save(&state).unwrap();
        assert!(same(&open(media).expect("it was saved"), &state));
    }
}

use std::collections::BTreeMap;
use std::sync::Mutex;

use shared::change::{Body, Epoch, Kind, Op, Revision, Verb};
use uuid::Uuid;

use super::*;
use crate::sync::media::Files;

/// Files in memory, with room for so many bytes.
#[derive(Default)]
struct Memory {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    full: Mutex<bool>,
}

impl Memory {
    fn full(&self) -> io::Result<()> {
        match *self.full.lock().unwrap() {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().cloned().collect()
    }
}

impl Media for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.full()?;
        self.files
            .lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.full()?;
        self.files.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.files
            .lock()
            .unwrap()
            .get_mut(name)
            .unwrap()
            .truncate(length as usize);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name);
        Ok(())
    }
}

fn empty() -> State {
    State::empty(Epoch(Uuid::from_u128(4)))
}

fn change(from: u64, to: u64, text: &str) -> Change {
    let op = Op {
        verb: Verb::Put,
        kind: Kind::Service,
        key: format!("s{to}").into(),
        body: Some(Body::of(&text).unwrap()),
        registration: None,
        before: None,
    };
    Change {
        from: Revision(from),
        to: Revision(to),
        ops: vec![op],
    }
}

fn changes(range: std::ops::Range<u64>) -> Vec<Change> {
    range.map(|n| change(n, n + 1, "x")).collect()
}

fn fold_all(changes: &[Change]) -> State {
    let mut state = empty();
    changes.iter().for_each(|change| fold(&mut state, change));
    state
}

fn open(media: &Arc<Memory>) -> (Store, Option<State>) {
    Store::open(media.clone()).unwrap()
}

fn same(found: Option<State>, expected: &State) {
    let found = found.unwrap();
    assert_eq!(
        (found.epoch, found.configured, found.digest),
        (expected.epoch, expected.configured, expected.digest)
    );
}

#[test]
fn what_was_written_is_there_again() {
    let media = Arc::new(Memory::default());
    let (mut store, nothing) = open(&media);
    assert!(nothing.is_none());
    store.save(&empty()).unwrap();
    let all = changes(0..10);
    store.write(&all[..3]).unwrap();
    store.write(&all[3..]).unwrap();
    same(open(&media).1, &fold_all(&all));
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tore() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    store.write(&changes(0..1)).unwrap();
    let first = media.read("log.1").unwrap().len();
    store.write(&changes(1..2)).unwrap();
    let whole = media.read("log.1").unwrap();
    for cut in first..whole.len() {
        media
            .files
            .lock()
            .unwrap()
            .insert("log.1".to_owned(), whole[..cut].to_vec());
        let (mut store, state) = open(&media);
        same(state, &fold_all(&changes(0..1)));
        // What comes next stands behind what is whole.
        store.write(&changes(1..2)).unwrap();
        same(open(&media).1, &fold_all(&changes(0..2)));
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    media.files.lock().unwrap().insert("log.1".to_owned(), flipped);
    same(open(&media).1, &fold_all(&changes(0..1)));
}

#[test]
fn a_generation_far_ahead_costs_no_time() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    store.write(&changes(0..1)).unwrap();
    media.replace("log.9000000000000000000", b"").unwrap();
    same(open(&media).1, &fold_all(&changes(0..1)));
}

#[test]
fn files_of_other_names_are_left_alone() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    let others = [
        "snapshot.18446744073709551615",
        "snapshot.+9",
        "log.007",
        "snapshot.",
        "log.x",
    ];
    others.iter().for_each(|name| media.replace(name, b"not ours").unwrap());
    let (mut store, state) = open(&media);
    same(state, &empty());
    store.save(&empty()).unwrap();
    assert!(others.iter().all(|name| media.read(name).unwrap() == b"not ours"));
}

#[test]
fn a_snapshot_that_cannot_be_read_is_nothing() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    store.write(&changes(0..3)).unwrap();
    media.files.lock().unwrap().get_mut("snapshot.1").unwrap()[20] ^= 1;
    assert!(open(&media).1.is_none());
    assert!(media.names().is_empty());
}

#[test]
fn saved_whole_it_holds_nothing_else() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    store.write(&changes(0..3)).unwrap();
    let mut other = State::empty(Epoch(Uuid::from_u128(5)));
    fold(&mut other, &change(0, 2, "y"));
    store.save(&other).unwrap();
    assert_eq!(media.names(), ["snapshot.2"]);
    same(open(&media).1, &other);
    store.unlink().unwrap();
    assert!(open(&media).1.is_none());
}

#[test]
fn a_compaction_is_whole_before_during_and_after() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    let big = "x".repeat(1 << 20);
    let all: Vec<Change> = (0..6).map(|n| change(n, n + 1, &big)).collect();
    store.write(&all[..5]).unwrap();
    let compaction = store.compaction(&fold_all(&all[..5])).unwrap();
    assert!(store.compaction(&fold_all(&all[..5])).is_none());
    store.write(&all[5..]).unwrap();
    same(open(&media).1, &fold_all(&all));
    let written = compaction.run();
    same(Store::open(Arc::new(copy(&media))).unwrap().1, &fold_all(&all));
    store.compacted(written);
    assert_eq!(media.names(), ["log.2", "snapshot.2"]);
    same(open(&media).1, &fold_all(&all));
}

fn copy(media: &Memory) -> Memory {
    Memory {
        files: Mutex::new(media.files.lock().unwrap().clone()),
        full: Mutex::default(),
    }
}

#[test]
fn a_compaction_that_fails_loses_nothing() {
    let media = Arc::new(Memory::default());
    let (mut store, _) = open(&media);
    store.save(&empty()).unwrap();
    let big = "x".repeat(5 << 20);
    store.write(&[change(0, 1, &big)]).unwrap();
    let compaction = store.compaction(&fold_all(&[change(0, 1, &big)])).unwrap();
    *media.full.lock().unwrap() = true;
    let result = compaction.run();
    assert!(result.is_err());
    store.compacted(result);
    assert!(store.write(&changes(1..2)).is_err());
    *media.full.lock().unwrap() = false;
    store.write(&changes(1..2)).unwrap();
    same(open(&media).1, &fold_all(&[change(0, 1, &big), change(1, 2, "x")]));
}

#[test]
fn real_files_do_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let media = || Arc::new(Files::new(directory.path().to_owned()));
    let (mut store, _) = Store::open(media()).unwrap();
    store.save(&empty()).unwrap();
    store.write(&changes(0..4)).unwrap();
    let log = directory.path().join("log.1");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    let (mut store, state) = Store::open(media()).unwrap();
    same(state, &fold_all(&changes(0..3)));
    store.write(&changes(3..4)).unwrap();
    same(Store::open(media()).unwrap().1, &fold_all(&changes(0..4)));
}

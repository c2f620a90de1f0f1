use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use shared::change::{Epoch, Kind, Revision};
use shared::quota::{AccountId, Down, Label, ProxyId, Standby, Told, WHOLE};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::fixture::Registry;
use crate::limiter::{Blocked, Identity};
use crate::sync::directory::{Begun, begin};
use crate::sync::media::Files;
use crate::view::Views;

/// Files that can be replaced or not.
struct Disk {
    files: Files,
    is_full: AtomicBool,
    refused: AtomicUsize,
}

impl Media for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.read(name)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.append(name, bytes)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.files.replace(name, bytes)
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.files.truncate(name, length)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
}

fn disk() -> (TempDir, Arc<Disk>) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk {
        files: Files::new(directory.path().to_owned()),
        is_full: AtomicBool::new(false),
        refused: AtomicUsize::new(0),
    };
    (directory, Arc::new(disk))
}

fn start(disk: &Arc<Disk>) -> Begun {
    begin(disk.clone(), Uuid::new_v4()).unwrap()
}

#[test]
fn every_life_finds_what_the_one_before_left() {
    let (_directory, disk) = disk();
    let first = start(&disk);
    assert!(first.mark.is_set());
    for is_set in [true, false, false, true] {
        start(&disk).mark.write(is_set).unwrap();
        let next = start(&disk);
        assert_eq!((next.mark.is_set(), next.instance), (is_set, first.instance));
    }
    assert_eq!(start(&disk).boot, 10);
}

#[test]
fn an_older_version_removes_a_mark() {
    let (_directory, disk) = disk();
    let first = start(&disk);
    let known: Value = serde_json::from_slice(&disk.read(INSTANCE).unwrap()).unwrap();
    let counted = json!({"instance": known["instance"], "boot": 2});
    disk.replace(INSTANCE, counted.to_string().as_bytes()).unwrap();
    let next = start(&disk);
    assert_eq!((next.instance, next.boot), (first.instance, 3));
    assert!(!next.mark.is_set());
}

#[test]
fn without_a_count_of_starts_no_mark_is_found_or_left() {
    let (_directory, disk) = disk();
    start(&disk);
    disk.is_full.store(true, Ordering::SeqCst);
    let uncounted = start(&disk).mark;
    assert!(!uncounted.is_set());
    uncounted.write(false).unwrap();
    disk.is_full.store(false, Ordering::SeqCst);
    uncounted.write(false).unwrap();
    assert!(start(&disk).mark.is_set());
}

const LIMIT: Uuid = Uuid::from_u128(0x5b1f_7c0e_7d1a_4f3e_9a53_0c1d_2e3f_4a5b);

/// Of a proxy that has a standby, and hears nobody any more.
fn limiter(id: ProxyId) -> Arc<Limiter> {
    let views = Views::new(1);
    let limiter = views.limiter().clone();
    limiter.begin(Identity {
        id,
        accounts: 16,
        is_marked: true,
    });
    let mut registry = Registry::web("random");
    registry.put(Kind::Limit, &LIMIT.to_string(), r#"{"threshold":100,"period":1}"#);
    registry.deploy(&views);
    limiter.follow(&registry.table(), Revision(1_000), Epoch(Uuid::new_v4()));
    limiter.welcome(Vec::new());
    let shard = account().shard();
    let standby = Standby {
        shard,
        epoch: 1,
        number: 1,
        weight: WHOLE,
    };
    let label = Label::from_nanos(1_700_000_000_000_000_000);
    limiter.hear(Down {
        from: Uuid::new_v4(),
        to: id,
        number: 1,
        heard: 0,
        heard_at: label,
        now: label,
        items: vec![
            Told::Beat {
                shards: vec![(shard, 1)],
            },
            Told::Standby(standby),
        ],
    });
    limiter
}

fn account() -> AccountId {
    AccountId::of(LIMIT, b"")
}

fn has_any(limiter: &Arc<Limiter>) -> bool {
    matches!(limiter.block(account(), 1), Blocked::Again)
}

/// Sees a state, or fails: never a wait without an end.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let seen = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen)
        .await
        .expect("it never came true");
}

#[tokio::test]
async fn no_standby_is_used_while_its_mark_cannot_be_removed() {
    let (directory, disk) = disk();
    let Begun {
        instance, boot, mark, ..
    } = start(&disk);
    let lock = Arc::new(File::open(directory.path()).unwrap());
    let limiter = limiter(ProxyId { instance, boot });
    disk.is_full.store(true, Ordering::SeqCst);
    let keeping = tokio::spawn(mark.keep(limiter.clone(), lock));
    let ticking = tokio::spawn(limiter.clone().keep(Default::default()));
    eventually(|| {
        assert!(!has_any(&limiter), "the disk is full");
        disk.refused.load(Ordering::SeqCst) >= 2
    })
    .await;
    disk.is_full.store(false, Ordering::SeqCst);
    eventually(|| has_any(&limiter)).await;
    assert!(!start(&disk).mark.is_set());
    keeping.abort();
    ticking.abort();
}

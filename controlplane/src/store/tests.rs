use std::path::PathBuf;

use ::redb::backends::InMemoryBackend;
use ::redb::{Database, StorageBackend};
use futures_util::FutureExt;
use shared::change::{Epoch, OpId};
use uuid::Uuid;

use super::conformance::{CASES, CELL_CASES, Medium};
use super::core::Core;
use super::*;

struct File {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> File {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/log.redb");
        File {
            _directory: directory,
            path,
        }
    }

    /// A file with some history in it, closed.
    fn filled() -> File {
        let file = File::new();
        let core = Core::open(&file.path).unwrap();
        for revision in 1..=50 {
            core.append(Revision(revision - 1), &commit(revision)).unwrap();
        }
        file
    }
}

impl Medium for File {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Log>> {
        async { open(&StoreUrl::Redb(self.path.clone())).await.unwrap() }.boxed()
    }
}

fn commit(revision: u64) -> Commit {
    let op = shared::change::Op {
        verb: shared::change::Verb::Put,
        kind: shared::change::Kind::Service,
        key: format!("service-{revision}").into(),
        body: Some(shared::change::Body::from_json(r#"{"match":[]}"#).unwrap()),
        registration: None,
        before: None,
    };
    let op_id = OpId(Uuid::from_u128(revision.into()));
    Commit {
        revision: Revision(revision),
        at_ms: 0,
        actor: "test".into(),
        op_id,
        ops: vec![op],
    }
}

#[tokio::test]
async fn redb_conforms() {
    for (name, case) in CASES.into_iter().chain(CELL_CASES) {
        println!("{name}");
        case(&File::new()).await;
    }
}

#[test]
fn a_store_is_locked_while_it_is_open() {
    let file = File::filled();
    let held = Core::open(&file.path).unwrap();
    assert_eq!(
        Core::open(&file.path).err(),
        Some(OpenError::Locked {
            path: file.path.clone()
        })
    );
    drop(held);
    Core::open(&file.path).unwrap();
}

/// A control plane that is started when its predecessor has been killed, and is not gone yet.
#[tokio::test]
async fn a_store_that_was_just_left_is_waited_for() {
    let file = File::filled();
    let held = Core::open(&file.path).unwrap();
    let url = StoreUrl::Redb(file.path.clone());
    let mut opening = Box::pin(super::open(&url));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut opening)
            .await
            .is_err()
    );
    drop(held);
    assert!(opening.await.is_ok());
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let file = File::new();
    std::fs::create_dir_all(file.path.parent().unwrap()).unwrap();
    std::fs::write(&file.path, "somebody's notes").unwrap();
    assert_eq!(
        Core::open(&file.path).err(),
        Some(OpenError::NotAStore {
            path: file.path.clone()
        })
    );
    assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "somebody's notes");

    let other = File::new();
    std::fs::create_dir_all(other.path.parent().unwrap()).unwrap();
    drop(Database::create(&other.path).unwrap());
    assert_eq!(
        Core::open(&other.path).err(),
        Some(OpenError::NotAStore {
            path: other.path.clone()
        })
    );
}

#[test]
fn a_directory_in_its_place_is_an_error_of_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Core::open(directory.path()).err(), Some(OpenError::Io { .. })));
}

/// Opens a damaged copy; anything but a clear error or the whole of what was there is wrong.
fn check_damaged(original: &File, damage: impl FnOnce(&mut Vec<u8>)) -> Result<(), OpenError> {
    let mut bytes = std::fs::read(&original.path).unwrap();
    damage(&mut bytes);
    let copy = File::new();
    std::fs::create_dir_all(copy.path.parent().unwrap()).unwrap();
    std::fs::write(&copy.path, bytes).unwrap();
    let core = Core::open(&copy.path)?;
    let state = core.load().unwrap();
    assert_eq!(
        (state.revision, state.objects.len()),
        (Revision(50), 50),
        "damage must not pass for an older state"
    );
    assert_eq!(core.read(Revision::ZERO, 100).unwrap().len(), 50);
    Ok(())
}

#[test]
fn a_torn_file_is_told() {
    let original = File::filled();
    let length = std::fs::read(&original.path).unwrap().len();
    for kept in [
        0,
        1,
        8,
        9,
        100,
        4_096,
        length / 4,
        length / 2,
        length - 4_096,
        length - 1,
    ] {
        match check_damaged(&original, |bytes| bytes.truncate(kept)) {
            Err(OpenError::Corrupt { .. }) => {}
            Err(OpenError::NotAStore { .. }) if kept < 9 => {}
            other => panic!("{kept} of {length} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_corrupt_file_is_told() {
    let original = File::filled();
    let length = std::fs::read(&original.path).unwrap().len();
    let mut told = 0;
    for page in 0..length / 4_096 {
        let damaged = check_damaged(&original, |bytes| {
            let start = page * 4_096 + 16;
            bytes[start..start + 1_024].iter_mut().for_each(|byte| *byte ^= 0x5a);
        });
        match damaged {
            Ok(()) => {}
            Err(OpenError::Corrupt { .. }) => told += 1,
            Err(other) => panic!("page {page}: {other:?}"),
        }
    }
    assert!(told > 2, "no page that matters was hit");
}

/// A disk on which everything fails after so many writes.
#[derive(Debug)]
pub(super) struct Failing {
    inner: InMemoryBackend,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Failing {
    pub fn until(full: Arc<std::sync::atomic::AtomicBool>) -> Failing {
        Failing {
            inner: InMemoryBackend::new(),
            full,
        }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        match self.full.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            false => self.inner.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.inner.write(offset, data)
    }
}

#[test]
fn a_failed_fsync_is_an_unknown_outcome() {
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let disk = Failing::until(full.clone());
    let core = Core::with_backend(disk, Epoch(Uuid::from_u128(1))).unwrap();
    core.append(Revision::ZERO, &commit(1)).unwrap();
    full.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(
        core.append(Revision(1), &commit(2)),
        Err(AppendError::Unknown(_))
    ));
    assert!(matches!(
        core.append(Revision(1), &commit(2)),
        Err(AppendError::Unavailable(_))
    ));
    assert!(matches!(core.head(), Err(ReadError::Unavailable(_))));
}

#[test]
fn urls_name_their_engine() {
    let url: StoreUrl = "redb:/var/lib/vulcan/log.redb".parse().unwrap();
    assert_eq!(url, StoreUrl::Redb("/var/lib/vulcan/log.redb".into()));
    assert_eq!(url.to_string(), "redb:/var/lib/vulcan/log.redb");
    let url: StoreUrl = "cassandra://h1,h2:9142/vulcan".parse().unwrap();
    assert_eq!(url.to_string(), "cassandra://h1:9042,h2:9142/vulcan");
    for text in ["", "redb", "redb:", "/var/lib", "cassandra:h1/vulcan", "cassandra://h1"] {
        assert!(text.parse::<StoreUrl>().is_err(), "{text}");
    }
}

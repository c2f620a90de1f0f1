use shared::change::{Epoch, Revision};

use super::*;

fn open(path: &Path) -> Result<Directory, Error> {
    Directory::open(path.to_owned())
}

#[test]
fn an_instance_counts_its_starts_and_is_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(Error::InUse { .. })));
    let (instance, boot) = (first.begun.instance, first.begun.boot);
    drop(first);
    let second = open(&path).unwrap();
    assert_eq!((second.begun.instance, second.begun.boot), (instance, boot + 1));
    assert!(second.begun.state.is_none() && second.begun.disk == Disk::Good);
}

#[test]
fn a_counter_at_its_end_is_no_counter() {
    let directory = tempfile::tempdir().unwrap();
    let instance = serde_json::to_vec(&Instance {
        instance: Uuid::nil(),
        boot: u64::MAX,
        is_unused: true,
    });
    fs::write(directory.path().join(INSTANCE), instance.unwrap()).unwrap();
    let begun = open(directory.path()).unwrap().begun;
    assert!(begun.instance != Uuid::nil() && begun.boot == 0);
}

#[test]
fn without_a_boot_counter_nothing_is_served_from_disk_then_or_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut first = open(path).unwrap();
    let state = State {
        configured: Revision(3),
        ..State::empty(Epoch(Uuid::from_u128(1)))
    };
    first.begun.store.save(&state).unwrap();
    let instance = first.begun.instance;
    drop(first);
    // Nothing can be put in its place.
    fs::remove_file(path.join(INSTANCE)).unwrap();
    fs::create_dir(path.join(INSTANCE)).unwrap();
    let second = open(path).unwrap();
    assert!(second.begun.state.is_none() && second.begun.disk == Disk::Lost && second.begun.instance != instance);
    drop(second);
    fs::remove_dir(path.join(INSTANCE)).unwrap();
    assert!(open(path).unwrap().begun.state.is_none());
}

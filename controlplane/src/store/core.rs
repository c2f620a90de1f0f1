//! The log in one redb file, synchronously: for the writer thread of `redb`, and for simulations on a backend of memory.
//!
//! Three tables change in one transaction, so that they cannot disagree: the commits, the objects that their fold leaves,
//! and what is known about both. A transaction is acknowledged after its fsync.

mod cells;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, WriteTransaction};
use shared::change::{Commit, Epoch, Kind, ObjectKey, Op, Revision};
use shared::state::{Object, State};
use uuid::Uuid;

use super::tables::{self, CHANGES, META, Meta, OBJECTS};
use super::{AppendError, OpenError, ReadError, RestoreError};

pub use cells::Swap;

/// Pages that redb may keep in memory. The fold is in memory anyway; what is read again is history.
const CACHE_BYTES: usize = 64 << 20;

pub struct Core {
    source: Source,
    /// None after a failed commit: what redb holds in memory is void then, and the file is opened anew.
    database: Mutex<Option<Arc<Database>>>,
}

enum Source {
    File(PathBuf),
    Backend,
}

impl Core {
    /// Opens the file, or creates it with a new epoch. Verifies every checksum in it.
    pub fn open(path: &Path) -> Result<Core, OpenError> {
        if !path.exists() {
            create(path)?;
        }
        let database = open_file(path)?;
        Ok(Core {
            source: Source::File(path.to_owned()),
            database: Mutex::new(Some(Arc::new(database))),
        })
    }

    /// On any other medium; an empty one becomes a store of epoch `fresh`. It cannot be opened again by itself: after a
    /// failed commit every call is `Unavailable`.
    pub fn with_backend(backend: impl StorageBackend, fresh: Epoch) -> Result<Core, OpenError> {
        let database = builder().create_with_backend(backend).map_err(tables::opening)?;
        if !tables::are_present(&database)? {
            tables::initialise(&database, fresh)?;
        }
        tables::verify(&database)?;
        Ok(Core {
            source: Source::Backend,
            database: Mutex::new(Some(Arc::new(database))),
        })
    }

    pub fn append(&self, after: Revision, commit: &Commit) -> Result<(), AppendError> {
        if commit.revision != after.next() {
            return Err(AppendError::Unavailable(format!(
                "revision {} does not follow {after}",
                commit.revision
            )));
        }
        let unavailable = |error: ReadError| AppendError::Unavailable(error.to_string());
        let database = self.database().map_err(unavailable)?;
        let staged = stage(&database, after, commit);
        match staged.map_err(|error| unavailable(self.failed(error)))? {
            ControlFlow::Break(found) => found,
            ControlFlow::Continue(transaction) => transaction.commit().map_err(|error| {
                self.forget();
                AppendError::Unknown(error.to_string())
            }),
        }
    }

    /// As `Log::read`.
    pub fn read(&self, from: Revision, max: usize) -> Result<Vec<Commit>, ReadError> {
        self.reading(|transaction| {
            let trimmed = Meta::read(&transaction.open_table(META)?)?.trimmed;
            if from < trimmed {
                return Ok(Err(ReadError::Trimmed { trimmed }));
            }
            let changes = transaction.open_table(CHANGES)?;
            let mut commits = Vec::new();
            for entry in changes.range(from.0 + 1..)?.take(max) {
                commits.push(tables::decode(entry?.1.value())?);
            }
            Ok(Ok(commits))
        })?
    }

    /// As `Log::head`. This process holds the file's lock, so that nobody else can have moved it.
    pub fn head(&self) -> Result<Revision, ReadError> {
        self.reading(|transaction| Ok(Meta::read(&transaction.open_table(META)?)?.head))
    }

    /// As `Log::load`.
    pub fn load(&self) -> Result<State, ReadError> {
        self.reading(|transaction| {
            let meta = Meta::read(&transaction.open_table(META)?)?;
            let mut state = State::empty(meta.epoch);
            for entry in transaction.open_table(OBJECTS)?.iter()? {
                let (key, value) = entry?;
                let (kind, key) = key.value();
                let object = tables::object(value.value())?;
                state.replace(
                    ObjectKey {
                        kind: Kind::from(kind),
                        key: key.into(),
                    },
                    Some(object),
                );
            }
            state.revision = meta.head;
            state.configured = meta.configured;
            match state.digest == meta.digest {
                true => Ok(state),
                false => Err(tables::corrupt("the objects do not add up to their digest")),
            }
        })
    }

    /// As `Log::trim`.
    pub fn trim(&self, below: Revision) -> Result<(), ReadError> {
        let database = self.database()?;
        let trimmed = || -> Result<(), ::redb::Error> {
            let transaction = database.begin_write()?;
            {
                let mut meta_table = transaction.open_table(META)?;
                let mut meta = Meta::read(&meta_table)?;
                let below = Revision(below.0.min(meta.head.0.saturating_sub(1)));
                if below <= meta.trimmed {
                    return Ok(());
                }
                transaction.open_table(CHANGES)?.retain_in(..=below.0, |_, _| false)?;
                meta.trimmed = below;
                meta.write(&mut meta_table)?;
            }
            Ok(transaction.commit()?)
        };
        trimmed().map_err(|error| self.failed(error))
    }

    /// As `Log::restore`, in one transaction.
    pub fn restore(&self, snapshot: &State) -> Result<(), RestoreError> {
        let database = self.database()?;
        let restored = || -> Result<Result<(), RestoreError>, ::redb::Error> {
            let transaction = database.begin_write()?;
            {
                let mut meta_table = transaction.open_table(META)?;
                let mut meta = Meta::read(&meta_table)?;
                if meta.head != Revision::ZERO {
                    return Ok(Err(RestoreError::not_empty(meta.head)));
                }
                let mut objects = transaction.open_table(OBJECTS)?;
                for (key, object) in &snapshot.objects {
                    insert(&mut objects, key, object)?;
                }
                (meta.head, meta.trimmed) = (snapshot.revision, snapshot.revision);
                (meta.configured, meta.digest) = (snapshot.configured, snapshot.digest);
                meta.write(&mut meta_table)?;
            }
            transaction.commit()?;
            Ok(Ok(()))
        };
        restored().map_err(|error| self.failed(error))?
    }

    fn reading<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, ::redb::Error>) -> Result<T, ReadError> {
        let database = self.database()?;
        let result = database
            .begin_read()
            .map_err(::redb::Error::from)
            .and_then(|transaction| read(&transaction));
        result.map_err(|error| self.failed(error))
    }

    fn database(&self) -> Result<Arc<Database>, ReadError> {
        let mut held = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*held {
            return Ok(database.clone());
        }
        let Source::File(path) = &self.source else {
            return Err(ReadError::Unavailable("its medium failed".into()));
        };
        let database = open_file(path).map_err(|error| match error {
            OpenError::Corrupt { detail, .. } => ReadError::Corrupt(detail),
            other => ReadError::Unavailable(other.to_string()),
        })?;
        Ok(held.insert(Arc::new(database)).clone())
    }

    /// An error of the medium stays with redb's handle for good; the file itself may be well again.
    fn failed(&self, error: ::redb::Error) -> ReadError {
        match error {
            ::redb::Error::Corrupted(detail) => ReadError::Corrupt(detail),
            other => {
                self.forget();
                ReadError::Unavailable(other.to_string())
            }
        }
    }

    fn forget(&self) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Initialises beside `path` and links the result there: a file at `path` is complete, or it was damaged.
fn create(path: &Path) -> Result<(), OpenError> {
    let io = |error: std::io::Error| OpenError::Io {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory).map_err(io)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", Uuid::new_v4().simple()));
    let made = builder().create(&beside).map_err(tables::opening).and_then(|database| {
        tables::initialise(&database, Epoch(Uuid::new_v4()))?;
        database.close().map_err(tables::opening)
    });
    let linked = made.and_then(|()| match std::fs::hard_link(&beside, path) {
        // Another process was faster; opening tells whether it still holds the file.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io(error)),
        _ => Ok(()),
    });
    std::fs::remove_file(&beside).map_err(io)?;
    linked.map_err(|error| error.at(path))?;
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io)
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    tables::sniff(path)?;
    let open = || {
        let database = builder().open(path).map_err(tables::opening)?;
        tables::verify(&database)?;
        Ok(database)
    };
    open().map_err(|error: OpenError| error.at(path))
}

/// Everything of an append but its commit; or what is at its revision already.
fn stage(
    database: &Database,
    after: Revision,
    commit: &Commit,
) -> Result<ControlFlow<Result<(), AppendError>, WriteTransaction>, ::redb::Error> {
    // Durability is immediate unless said otherwise: commit returns after fsync.
    let transaction = database.begin_write()?;
    {
        let mut meta_table = transaction.open_table(META)?;
        let mut meta = Meta::read(&meta_table)?;
        let mut changes = transaction.open_table(CHANGES)?;
        if meta.head != after {
            let there = changes
                .get(commit.revision.0)?
                .map(|bytes| tables::decode(bytes.value()))
                .transpose()?;
            let mine = there.is_some_and(|there| there.op_id == commit.op_id);
            return Ok(ControlFlow::Break(if mine {
                Ok(())
            } else {
                Err(AppendError::Conflict)
            }));
        }
        let mut objects = transaction.open_table(OBJECTS)?;
        for op in &commit.ops {
            fold(&mut objects, &mut meta, op, commit.revision)?;
        }
        changes.insert(commit.revision.0, tables::encode(commit)?.as_slice())?;
        meta.head = commit.revision;
        if commit.is_configuration() {
            meta.configured = commit.revision;
        }
        meta.write(&mut meta_table)?;
    }
    Ok(ControlFlow::Continue(transaction))
}

fn insert(objects: &mut tables::Objects<'_>, key: &ObjectKey, object: &Object) -> Result<(), ::redb::Error> {
    let Object {
        revision,
        registration,
        body,
    } = object;
    let id = (key.kind.as_str(), &*key.key);
    objects.insert(id, (revision.0, registration.map(|r| r.0), body.as_str()))?;
    Ok(())
}

/// One operation on the stored objects, as `State::apply_op` does it in memory: the state lends its rules to the one
/// object that the operation is about.
fn fold(objects: &mut tables::Objects<'_>, meta: &mut Meta, op: &Op, revision: Revision) -> Result<(), ::redb::Error> {
    let key = op.object();
    let id = (key.kind.as_str(), &*key.key);
    let before = objects
        .get(id)?
        .map(|value| tables::object(value.value()))
        .transpose()?;
    let mut state = State::empty(meta.epoch);
    state.replace(key.clone(), before);
    state.digest = meta.digest;
    state.apply_op(op, revision);
    match state.get(&key) {
        Some(object) => insert(objects, &key, object)?,
        None => drop(objects.remove(id)?),
    }
    meta.digest = state.digest;
    meta.epoch = state.epoch;
    Ok(())
}

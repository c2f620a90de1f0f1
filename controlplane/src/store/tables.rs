//! What stands in the file: tables, their encodings, and the checks that it is whole.

use std::io::{ErrorKind, Read};
use std::path::Path;

use ::redb::{Database, Error, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use shared::change::{Body, Commit, Epoch, Revision};
use shared::digest::Digest;
use shared::state::Object;

use super::OpenError;

/// Revision → the commit as JSON.
pub const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");

/// (kind, key) → (revision, registration, body).
pub const OBJECTS: TableDefinition<'_, (&str, &str), (u64, Option<u64>, &str)> = TableDefinition::new("objects");

/// One row, `META_KEY` → `Meta` as JSON.
pub const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

pub type Objects<'txn> = Table<'txn, (&'static str, &'static str), (u64, Option<u64>, &'static str)>;

const META_KEY: &str = "log";

/// Raised with every change of the tables or of their encodings.
const FORMAT: u32 = 1;

/// The first bytes of every redb file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

#[derive(Serialize, Deserialize)]
pub struct Meta {
    format: u32,
    pub epoch: Epoch,
    pub head: Revision,
    pub configured: Revision,
    /// The commits up to this one have been let go of.
    pub trimmed: Revision,
    pub digest: Digest,
}

impl Meta {
    pub fn read(table: &impl ReadableTable<&'static str, &'static str>) -> Result<Meta, Error> {
        let row = table.get(META_KEY)?.ok_or_else(|| corrupt("it has lost its head"))?;
        serde_json::from_str(row.value()).map_err(|error| corrupt(&format!("its head cannot be read: {error}")))
    }

    pub fn write(&self, table: &mut Table<'_, &'static str, &'static str>) -> Result<(), Error> {
        table.insert(META_KEY, json(self)?.as_str())?;
        Ok(())
    }
}

pub fn encode(commit: &Commit) -> Result<Vec<u8>, Error> {
    json(commit).map(String::into_bytes)
}

pub fn decode(bytes: &[u8]) -> Result<Commit, Error> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(&format!("a commit cannot be read: {error}")))
}

pub fn object((revision, registration, body): (u64, Option<u64>, &str)) -> Result<Object, Error> {
    let body = Body::from_json(body).map_err(|error| corrupt(&format!("an object cannot be read: {error}")))?;
    Ok(Object {
        revision: Revision(revision),
        registration: registration.map(Revision),
        body,
    })
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| corrupt(&format!("a value is no JSON: {error}")))
}

pub fn corrupt(detail: &str) -> Error {
    Error::Corrupted(detail.to_owned())
}

/// Tells what is no redb file before redb looks at it, which only says that something is invalid.
pub fn sniff(path: &Path) -> Result<(), OpenError> {
    let io = |error: std::io::Error| OpenError::Io {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let mut start = Vec::new();
    std::fs::File::open(path)
        .map_err(io)?
        .take(MAGIC.len() as u64)
        .read_to_end(&mut start)
        .map_err(io)?;
    match &*start {
        [] => Err(OpenError::Corrupt {
            path: path.to_owned(),
            detail: "the file is empty".into(),
        }),
        start if start == MAGIC => Ok(()),
        _ => Err(OpenError::NotAStore { path: path.to_owned() }),
    }
}

pub fn are_present(database: &Database) -> Result<bool, OpenError> {
    let transaction = database.begin_read().map_err(opening)?;
    match transaction.open_table(META) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(opening(error)),
    }
}

pub fn initialise(database: &Database, epoch: Epoch) -> Result<(), OpenError> {
    let tables = || -> Result<(), Error> {
        let transaction = database.begin_write()?;
        let meta = Meta {
            format: FORMAT,
            epoch,
            head: Revision::ZERO,
            configured: Revision::ZERO,
            trimmed: Revision::ZERO,
            digest: Digest::default(),
        };
        meta.write(&mut transaction.open_table(META)?)?;
        transaction.open_table(CHANGES)?;
        transaction.open_table(OBJECTS)?;
        Ok(transaction.commit()?)
    };
    tables().map_err(opening)
}

/// Whether it is a log of this format, and its parts agree. Page checksums are redb's own affair; a page that is whole but
/// stale is not.
pub fn verify(database: &Database) -> Result<(), OpenError> {
    if !are_present(database)? {
        return Err(OpenError::NotAStore {
            path: Default::default(),
        });
    }
    let check = || -> Result<u32, Error> {
        let transaction = database.begin_read()?;
        let meta = Meta::read(&transaction.open_table(META)?)?;
        let changes = transaction.open_table(CHANGES)?;
        // A log that was restored has none until something is appended.
        let last = changes.last()?.map_or(meta.trimmed.0, |(revision, _)| revision.value());
        let first = changes
            .first()?
            .map_or(meta.trimmed.0 + 1, |(revision, _)| revision.value());
        transaction.open_table(OBJECTS)?;
        match last == meta.head.0 && first == meta.trimmed.0 + 1 {
            true => Ok(meta.format),
            false => Err(corrupt(&format!(
                "it holds revisions {first} to {last}, and its head says {}",
                meta.head
            ))),
        }
    };
    match check().map_err(opening)? {
        FORMAT => Ok(()),
        format => Err(OpenError::Format {
            path: Default::default(),
            format,
        }),
    }
}

/// The path is filled in by whoever knows it.
pub fn opening(error: impl Into<Error>) -> OpenError {
    let path = Default::default();
    match error.into() {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => OpenError::Locked { path },
        Error::UpgradeRequired(format) => OpenError::Format {
            path,
            format: format.into(),
        },
        Error::Io(error) if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            OpenError::Io {
                path,
                detail: error.to_string(),
            }
        }
        other => OpenError::Corrupt {
            path,
            detail: other.to_string(),
        },
    }
}

//! What can be wrong with a snapshot.

use std::fmt;
use std::io;

use crate::digest::Digest;

/// Nothing of a snapshot that fails is used.
#[derive(Debug)]
pub enum SnapshotError {
    /// Of the source; says nothing about the snapshot.
    Io(io::Error),
    /// It ends before its end.
    Truncated,
    /// Not what a writer wrote. Line 0: not even zstd.
    Corrupt {
        line: u64,
        detail: String,
    },
    /// Of another version.
    Format(u32),
    TooLarge(Exceeded),
    /// The trailer counts other objects than were read.
    Count {
        said: u64,
        found: u64,
    },
    /// The objects are not those that the digest was made of.
    Digest {
        said: Digest,
        found: Digest,
    },
}

/// The limit that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Bytes(u64),
    Objects(u64),
    Line(u64),
}

impl SnapshotError {
    pub(super) fn of_decoder(error: io::Error) -> SnapshotError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Truncated,
            _ => SnapshotError::Corrupt {
                line: 0,
                detail: error.to_string(),
            },
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io(error) => write!(f, "the snapshot cannot be read: {error}"),
            SnapshotError::Truncated => f.write_str("the snapshot is truncated"),
            SnapshotError::Corrupt { line: 0, detail } => write!(f, "the snapshot is corrupt: {detail}"),
            SnapshotError::Corrupt { line, detail } => write!(f, "the snapshot is corrupt in line {line}: {detail}"),
            SnapshotError::Format(format) => {
                write!(f, "the snapshot has format {format}, which this version cannot read")
            }
            SnapshotError::TooLarge(exceeded) => write!(f, "the snapshot is too large: {exceeded}"),
            SnapshotError::Count { said, found } => write!(f, "the snapshot says {said} objects and holds {found}"),
            SnapshotError::Digest { said, found } => {
                write!(f, "the snapshot's digest is {said}, that of its objects {found}")
            }
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::Bytes(most) => write!(f, "more than {most} bytes"),
            Exceeded::Objects(most) => write!(f, "more than {most} objects"),
            Exceeded::Line(most) => write!(f, "a line of more than {most} bytes"),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Io(error) => Some(error),
            _ => None,
        }
    }
}

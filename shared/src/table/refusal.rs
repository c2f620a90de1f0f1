//! Objects that cannot be applied: refused by name, one by one, while the rest of the revision goes on.

use std::fmt;

use crate::change::{ObjectKey, Revision};
use crate::model::{Invalid, ServiceName};

/// The last good form of `object`, if there was one, stays in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub object: ObjectKey,
    pub revision: Revision,
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The body is not what this version accepts.
    Invalid(Invalid),
    /// Another service holds the same host, path, headers and priority with a method in common. `field` is the match of
    /// the refused service: `match[0]`.
    Conflict { with: ServiceName, field: String },
    /// Another service takes mail for the same recipients. `field` is the pattern of the refused service:
    /// `match[0].recipients[0]`.
    Taken { with: ServiceName, field: String },
    /// A kind of object that a newer version knows.
    UnknownKind,
    /// An upstream without a service. It is kept, and comes to life with its service.
    Orphan,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Invalid(invalid) => invalid.fmt(f),
            Cause::Conflict { with, field } => {
                write!(
                    f,
                    "{field}: service {with} has a match with the same host, path, headers, priority and method"
                )
            }
            Cause::Taken { with, field } => write!(f, "{field}: service {with} takes mail for it"),
            Cause::UnknownKind => f.write_str("this version does not know such objects"),
            Cause::Orphan => f.write_str("its service does not exist"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.cause)
    }
}

//! Why a document was refused, field by field.

use std::fmt;

use super::fields::Path;

/// What is wrong with one field, named as in `match[0].path_regex`; an empty name means the document as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub field: String,
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.detail),
            field => write!(f, "{field}: {}", self.detail),
        }
    }
}

/// The worst that was found: `Malformed` is no JSON at all or repeats a key, `Invalid` breaks a rule of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    Malformed,
    Invalid,
}

/// A refused document with every error that was found, at most `Errors::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub errors: Vec<FieldError>,
    pub kind: InvalidKind,
}

impl Invalid {
    pub fn malformed(field: impl fmt::Display, detail: impl fmt::Display) -> Invalid {
        Invalid::one(InvalidKind::Malformed, field, detail)
    }

    pub fn field(field: impl fmt::Display, detail: impl fmt::Display) -> Invalid {
        Invalid::one(InvalidKind::Invalid, field, detail)
    }

    fn one(kind: InvalidKind, field: impl fmt::Display, detail: impl fmt::Display) -> Invalid {
        Invalid {
            errors: vec![FieldError {
                field: field.to_string(),
                detail: detail.to_string(),
            }],
            kind,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Collects what is wrong while a document is read, so that its author sees all of it at once.
#[derive(Default)]
pub(super) struct Errors {
    list: Vec<FieldError>,
    /// Those of them that are about a name which nothing has.
    unknown: Vec<FieldError>,
}

impl Errors {
    const MAX: usize = 32;

    pub fn invalid(&mut self, path: &Path<'_>, detail: impl fmt::Display) {
        self.push(path, detail);
    }

    pub fn unknown(&mut self, path: &Path<'_>) {
        self.invalid(path, "unknown field");
        if self.unknown.len() < Self::MAX {
            self.unknown.extend(self.list.last().cloned());
        }
    }

    /// The names that nothing has, and none of the other errors.
    pub fn finish_names(self) -> Result<(), Invalid> {
        match self.unknown.is_empty() {
            true => Ok(()),
            false => Err(Invalid {
                errors: self.unknown,
                kind: InvalidKind::Invalid,
            }),
        }
    }

    /// `value`, unless anything was wrong. Readers answer `None` only after they recorded an error.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(Invalid {
                errors: self.list,
                kind: InvalidKind::Invalid,
            }),
        }
    }

    fn push(&mut self, path: &Path<'_>, detail: impl fmt::Display) {
        if self.list.len() < Self::MAX {
            self.list.push(FieldError {
                field: path.to_string(),
                detail: detail.to_string(),
            });
        }
    }
}

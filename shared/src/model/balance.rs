//! How a service spreads its requests.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::{Fields, Path, kind, string};
use super::invalid::Errors;
use super::matching::is_token;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices over the requests in flight.
    #[default]
    LeastRequest,
    RoundRobin,
    Random,
    /// Requests with the same value of this header, whose name is in lower case, go to the same upstream; those without it
    /// as by `LeastRequest`.
    ConsistentHash {
        header: Arc<str>,
    },
}

const HEADER_BYTES_MAX: usize = 128;

impl Balance {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Balance::LeastRequest => "least_request".into(),
            Balance::RoundRobin => "round_robin".into(),
            Balance::Random => "random".into(),
            Balance::ConsistentHash { header } => json!({"consistent_hash": {"header": **header}}),
        }
    }

    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Balance> {
        match value.as_str() {
            Some("least_request") => Some(Balance::LeastRequest),
            Some("round_robin") => Some(Balance::RoundRobin),
            Some("random") => Some(Balance::Random),
            None if value.is_object() => read_hash(value, path, errors),
            _ => {
                let expected = r#"one of "least_request", "round_robin", "random", {"consistent_hash": …} is expected"#;
                match value.is_string() {
                    true => errors.invalid(path, expected),
                    false => errors.invalid(path, format_args!("{expected}, not {}", kind(value))),
                }
                None
            }
        }
    }
}

fn read_hash(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Balance> {
    let mut fields = Fields::of(value, path, errors)?;
    let hash = fields.take("consistent_hash");
    let path = path.field("consistent_hash");
    let header = match hash {
        Some(hash) => read_header(hash, &path, errors),
        None => {
            errors.invalid(&path, "the field is required in an object");
            None
        }
    };
    fields.finish(errors);
    Some(Balance::ConsistentHash { header: header? })
}

fn read_header(hash: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let mut fields = Fields::of(hash, path, errors)?;
    let given = fields.take("header");
    let path = path.field("header");
    let name = match given {
        Some(value) => string(value, &path, errors),
        None => {
            errors.invalid(&path, "the field is required");
            None
        }
    };
    fields.finish(errors);
    let name = name?;
    if !is_token(name, HEADER_BYTES_MAX) {
        errors.invalid(&path, "a header's name is a token of at most 128 characters");
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

//! What of a request an authorizer's answer depends on: requests that agree in it share one answer.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::authorizer::Style;
use super::fields::{Path, array, string};
use super::invalid::Errors;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vary {
    Username,
    Password,
    Protocol,
    Method,
    Uri,
    Length,
    Ip,
    Host,
    /// `Authorization` and `Cookie`, as they were sent.
    Credentials,
    /// One field, by its name in lower case.
    Header(Arc<str>),
}

/// All that `json` and `query` tell.
const TOLD: [Vary; 7] = [
    Vary::Username,
    Vary::Password,
    Vary::Protocol,
    Vary::Method,
    Vary::Uri,
    Vary::Length,
    Vary::Ip,
];
const FORWARDED: [Vary; 4] = [Vary::Method, Vary::Uri, Vary::Host, Vary::Credentials];
const NAMES: [(&str, Vary); 9] = [
    ("username", Vary::Username),
    ("password", Vary::Password),
    ("protocol", Vary::Protocol),
    ("method", Vary::Method),
    ("uri", Vary::Uri),
    ("length", Vary::Length),
    ("ip", Vary::Ip),
    ("host", Vary::Host),
    ("credentials", Vary::Credentials),
];
const HEADER: &str = "header:";
const VARY_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 256;

pub(super) fn default(style: Style) -> Arc<[Vary]> {
    match style {
        Style::Json | Style::Query => TOLD.into(),
        Style::Forward => FORWARDED.into(),
    }
}

impl fmt::Display for Vary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vary::Header(name) => write!(f, "{HEADER}{name}"),
            known => f.write_str(
                NAMES
                    .iter()
                    .find(|(_, named)| named == known)
                    .map_or("", |(name, _)| *name),
            ),
        }
    }
}

pub(super) fn to_json(vary: &[Vary]) -> Value {
    vary.iter().map(|field| Value::from(field.to_string())).collect()
}

/// At least one: what depends on nothing would let everybody in with the first.
pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<[Vary]>> {
    let mut vary = array(value, path, errors, VARY_MAX, read_one)?;
    if vary.is_empty() {
        errors.invalid(path, "at least one name is expected");
        return None;
    }
    vary.sort();
    vary.dedup();
    Some(vary.into())
}

fn read_one(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Vary> {
    let text = string(value, path, errors)?;
    if let Some(name) = text.strip_prefix(HEADER) {
        return field_name(name, path, errors).map(Vary::Header);
    }
    let known = NAMES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, vary)| vary.clone());
    if known.is_none() {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        let rule = format_args!("one of {} or {HEADER}<name> is expected", names.join(", "));
        errors.invalid(path, rule);
    }
    known
}

/// In lower case (RFC 9110, 5.1 and 5.6.2).
pub(super) fn field_name(text: &str, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_token) {
        return Some(text.to_ascii_lowercase().into());
    }
    errors.invalid(path, "the name of a header field is expected");
    None
}

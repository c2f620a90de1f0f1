//! Fields that belong to capabilities which are not here yet: accepted at their default, which changes nothing, and
//! refused otherwise, since storing and ignoring them would promise what nobody keeps.

use serde_json::Value;

use super::duration::parse_duration;
use super::fields::{Fields, Path};
use super::invalid::Errors;

/// A field that must be absent or stand at `default`.
pub(super) fn field(
    fields: &mut Fields<'_>,
    name: &'static str,
    default: &Value,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if fields.take(name).is_some_and(|value| !same(value, default)) {
        errors.not_supported(&path.field(name));
    }
}

/// Durations are the same when they last as long, however they are spelled.
fn same(value: &Value, default: &Value) -> bool {
    match (value.as_str().map(parse_duration), default.as_str().map(parse_duration)) {
        (Some(Ok(value)), Some(Ok(default))) => value == default,
        _ => value == default,
    }
}

//! Fields that take one of a few words.

use serde_json::Value;

use super::fields::{Path, string};
use super::invalid::Errors;

pub(super) fn one_of<T: Copy>(
    known: &[(&'static str, T)],
    value: &Value,
    path: &Path<'_>,
    errors: &mut Errors,
) -> Option<T> {
    let text = string(value, path, errors)?;
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        errors.invalid(path, format_args!("one of {} is expected", names.join(", ")));
    }
    found
}

pub(super) fn name_of<T: PartialEq>(known: &[(&'static str, T)], value: T) -> Value {
    let found = known.iter().find(|(_, known)| *known == value);
    found.map_or("", |(name, _)| *name).into()
}

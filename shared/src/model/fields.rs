//! Reading a JSON object strictly: every field is asked for by name, and what was not asked for is an error.

use std::fmt;

use serde_json::{Map, Value};

use super::invalid::Errors;

/// Where a value stands in its document. Printed only when something is wrong there.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub fn field<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Field(self, name)
    }

    pub fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// One JSON object, and the names that were asked for so far.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path<'a>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value, path: &'a Path<'a>, errors: &mut Errors) -> Option<Fields<'a>> {
        match value {
            Value::Object(map) => Some(Fields {
                map,
                path,
                known: Vec::with_capacity(16),
            }),
            other => {
                errors.invalid(path, format_args!("an object is expected, not {}", kind(other)));
                None
            }
        }
    }

    pub fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name)
    }

    /// Reads the field with `read`, or takes the default where it is absent.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        errors: &mut Errors,
        default: T,
        read: impl FnOnce(&'a Value, &Path<'_>, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        match self.take(name) {
            Some(value) => read(value, &self.path.field(name), errors),
            None => Some(default),
        }
    }

    pub fn finish(self, errors: &mut Errors) {
        for name in self.map.keys().filter(|name| !self.known.contains(&name.as_str())) {
            errors.unknown(&self.path.field(name));
        }
    }
}

pub(super) fn string<'a>(value: &'a Value, path: &Path<'_>, errors: &mut Errors) -> Option<&'a str> {
    let text = value.as_str();
    if text.is_none() {
        errors.invalid(path, format_args!("a string is expected, not {}", kind(value)));
    }
    text
}

/// An integer within `least..=most`.
pub(super) fn integer(value: &Value, path: &Path<'_>, errors: &mut Errors, least: i64, most: i64) -> Option<i64> {
    match value.as_i64() {
        Some(number) if (least..=most).contains(&number) => return Some(number),
        _ if value.is_number() => errors.invalid(path, format_args!("an integer from {least} to {most} is expected")),
        _ => errors.invalid(path, format_args!("an integer is expected, not {}", kind(value))),
    }
    None
}

/// An array of at most `most` elements, each read with `read`.
pub(super) fn array<'a, T>(
    value: &'a Value,
    path: &Path<'_>,
    errors: &mut Errors,
    most: usize,
    mut read: impl FnMut(&'a Value, &Path<'_>, &mut Errors) -> Option<T>,
) -> Option<Vec<T>> {
    match value {
        Value::Array(items) if items.len() <= most => {
            let read: Vec<T> = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| read(item, &path.index(index), errors))
                .collect();
            (read.len() == items.len()).then_some(read)
        }
        Value::Array(_) => {
            errors.invalid(path, format_args!("at most {most} elements are accepted"));
            None
        }
        other => {
            errors.invalid(path, format_args!("an array is expected, not {}", kind(other)));
            None
        }
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

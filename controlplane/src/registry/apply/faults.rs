//! What is wrong with a document of many objects, each thing with its whole path.

use net::problem::{self, FieldError, Problem};
use shared::change::{Kind, ObjectKey};
use shared::model::Invalid;

/// Errors that are named; what is beyond is only counted.
const NAMED_MAX: usize = 100;

/// Errors of which the text for people speaks.
const TOLD_MAX: usize = 3;

#[derive(Default)]
pub struct Faults {
    errors: Vec<FieldError>,
    more: usize,
    is_invalid: bool,
    /// Another object that stands in the way of one.
    with: Option<String>,
}

impl Faults {
    /// `invalid`: of the object at `place`.
    pub fn invalid(&mut self, place: &str, invalid: Invalid) {
        self.is_invalid = true;
        for error in invalid.errors {
            self.push(joined(place, &error.field), error.detail);
        }
    }

    pub fn conflict(&mut self, field: String, detail: String, with: &str) {
        self.with.get_or_insert_with(|| with.to_owned());
        self.push(field, detail);
    }

    fn push(&mut self, field: String, detail: String) {
        match self.errors.len() < NAMED_MAX {
            true => self.errors.push(FieldError { field, detail }),
            false => self.more += 1,
        }
    }

    /// An error if there is any; of what was found, what its author has to mend first says which.
    pub fn finish(self) -> Result<(), Box<Problem>> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let of = match &self.with {
            Some(_) if !self.is_invalid => problem::CONFLICT,
            _ => problem::INVALID,
        };
        let told: Vec<String> = self.errors.iter().take(TOLD_MAX).map(ToString::to_string).collect();
        let mut detail = told.join("; ");
        let rest = self.errors.len() + self.more - told.len();
        if rest > 0 {
            detail.push_str(&format!("; and {rest} more"));
        }
        let mut problem = Problem::new(of, detail);
        problem.errors = self.errors;
        if self.more > 0 {
            problem = problem.with("more", self.more);
        }
        if let Some(with) = self.with.filter(|_| of == problem::CONFLICT) {
            problem = problem.with("with", with);
        }
        Err(Box::new(problem))
    }
}

/// Where an object stands in a document: `services.web`, `services.web.upstreams["a:1"]`.
pub fn place(key: &ObjectKey) -> String {
    match (&key.kind, key.upstream_parts()) {
        (Kind::Upstream, Some((service, id))) => format!("{}.upstreams{}", named("services", service), quoted(id)),
        (Kind::Service, _) => named("services", &key.key),
        (Kind::Authorizer, _) => named("authorizers", &key.key),
        (Kind::Limit, _) => format!("limits{}", quoted(&key.key)),
        _ => key.to_string(),
    }
}

/// A member of one of the document's maps.
pub fn named(map: &str, name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => format!("{map}.{name}"),
        false => format!("{map}{}", quoted(name)),
    }
}

pub fn quoted(name: &str) -> String {
    format!("[{}]", serde_json::Value::from(name))
}

pub fn joined(place: &str, field: &str) -> String {
    match field {
        "" => place.to_owned(),
        _ if place.is_empty() || field.starts_with('[') => format!("{place}{field}"),
        _ => format!("{place}.{field}"),
    }
}

//! What is accepted, what is refused with which field, and the one form in which it is kept.

mod authorizers;
mod documents;
mod limits;
mod paths;
mod refusals;
mod texts;

use serde_json::Value;

use super::{Invalid, Service, Upstream};

pub(super) fn service(json: &str) -> Service {
    Service::parse("web", json).unwrap_or_else(|invalid| panic!("{json}: {invalid}"))
}

pub(super) fn upstream(json: &str) -> Upstream {
    Upstream::parse("web", "127.0.0.1:3000", json).unwrap_or_else(|invalid| panic!("{json}: {invalid}"))
}

pub(super) fn fields(invalid: &Invalid) -> Vec<&str> {
    invalid.errors.iter().map(|error| error.field.as_str()).collect()
}

pub(super) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

//! What must hold of any input, one function a parser. The fuzzer looks for inputs of which it does not; a test runs the
//! same functions on those that are kept in `fuzz/corpus`.
//!
//! A property that does not hold panics: that is how both of them see it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use arbitrary::{Arbitrary, Unstructured};

pub mod answer;
pub mod api;
pub mod apply;
pub mod documents;
pub mod fields;
pub mod json;
pub mod lines;
pub mod log;
pub mod operations;
pub mod publisher;
pub mod request;
pub mod smtp_command;
pub mod smtp_data;
pub mod smtp_head;
pub mod snapshot;
pub mod store;
pub mod subscriber;
pub mod table;
pub mod texts;

/// The name of the fuzzer's target and of the folder of the corpus, and what is run on an input.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 17] = [
    ("answer", answer::check),
    ("api", api::check),
    ("apply", apply::check),
    ("documents", documents::check),
    ("fields", |data| structured(data, fields::check)),
    ("json", json::check),
    ("lines", |data| structured(data, lines::check)),
    ("publisher", |data| structured(data, publisher::check)),
    ("request", request::check),
    ("smtp_command", smtp_command::check),
    ("smtp_data", smtp_data::check),
    ("smtp_head", smtp_head::check),
    ("snapshot", snapshot::check),
    ("store", |data| structured(data, store::check)),
    ("subscriber", |data| structured(data, subscriber::check)),
    ("table", |data| structured(data, table::check)),
    ("texts", texts::check),
];

/// Runs one of them. Panics also when there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    target.expect("a target").1(data);
}

fn structured<'a, T: Arbitrary<'a>>(data: &'a [u8], check: impl FnOnce(T)) {
    // Too short for an input of that form.
    if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(data)) {
        check(input);
    }
}

//! What a fleet tells of itself: metrics and access logs against what clients and origins have counted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod control;
mod mail;
mod requests;
mod rotating;

use std::path::Path;

use serde_json::Value;

/// The keys of every line.
const KEYS: [&str; 18] = [
    "time",
    "proxy",
    "protocol",
    "client",
    "method",
    "host",
    "path",
    "status",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "service",
    "upstream",
    "tries",
    "auth_token_hash",
    "limit",
    "request_id",
    "error",
];

/// The lines of a log, each with every key.
fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(line).collect()
}

#[track_caller]
fn line(text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected = KEYS;
    expected.sort_unstable();
    assert_eq!(keys, expected);
    document
}

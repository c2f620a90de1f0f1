//! The store on a real Cassandra.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod conformance;

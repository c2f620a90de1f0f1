//! The harness of Vulcan's tests: the real binary as processes, origins that can be killed, clients that check
//! everything they get.
//!
//! A harness that cannot go on panics: that is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

pub mod api;
pub mod authority;
pub mod authserver;
pub mod beating;
pub mod binary;
pub mod browser;
pub mod cassandra;
pub mod deploy;
pub mod dice;
pub mod history;
pub mod limited;
pub mod load;
pub mod mail;
pub mod metrics;
pub mod node;
pub mod origin;
pub mod pattern;
pub mod process;
pub mod relay;
pub mod script;
pub mod terminal;
pub mod tour;
pub mod wire;
pub mod witness;
pub mod world;

/// Waits until the condition holds; a test that waits for ever fails instead.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < process::PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

//! The REST interface over real loopback connections, in process: what it answers, and what it leaves as it was.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod access;
mod authorizers;
mod bad_input;
mod conditional;
mod dashboard;
mod framework;
mod history;
mod holds;
mod limits;
mod mail;
mod pages;
mod peers;
mod plane;
mod registration;
mod writes;

//! Who may do what at the admin port, and how it is protected, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod encrypted;
mod scopes;
mod staff;
mod strangers;
mod walk;

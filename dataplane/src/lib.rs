//! The data plane: a proxy that follows a control plane and forwards what its table routes.

pub mod config;
pub mod phase;
pub mod pipeline;
pub mod status;
pub mod upstream;
pub mod view;
pub mod worker;

#[cfg(test)]
mod fixture;

pub use config::{Config, OnLeaseEnd};

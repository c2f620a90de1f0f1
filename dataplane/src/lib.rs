//! The data plane: a proxy that follows a control plane and forwards what its table routes.

pub mod access_log;
pub mod authorizer;
pub mod codec;
pub mod config;
pub mod counts;
pub mod http;
pub mod limiter;
pub mod phase;
pub mod pipeline;
mod run;
pub mod secret;
pub mod smtp;
pub mod status;
pub mod sync;
pub mod upstream;
pub mod view;
pub mod worker;

#[cfg(test)]
mod fixture;

pub use config::{Config, OnLeaseEnd};
pub use run::{Error, run};

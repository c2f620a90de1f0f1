//! The servers behind the services, as one proxy sees them.

pub mod endpoint;
pub mod health;
pub mod inflight;
pub mod resolve;

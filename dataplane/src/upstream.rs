//! The servers behind the services, as one proxy sees them.

pub mod budget;
pub mod call;
pub mod care;
pub mod check;
pub mod connect;
pub mod endpoint;
pub mod health;
pub mod inflight;
pub mod pool;
pub mod queue;
pub mod resolve;
pub mod stray;
pub mod talk;
pub mod trial;

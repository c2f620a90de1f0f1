//! The control plane under many proxies.

pub mod changes;
mod http2;
mod link;
pub mod simulated;

//! The control plane under many proxies.

pub mod changes;
pub mod handle;
mod http2;
mod link;
mod pace;
pub mod simulated;

//! The control plane under many proxies.

mod http2;
mod link;
pub mod simulated;

//! What both planes agree on: the model of configuration, the log and its fold, the routing table, and the protocol by
//! which changes travel. Everything here is pure: no sockets, no runtime, no clock. Whoever calls hands in the time.

pub mod change;
pub mod digest;
pub mod model;
pub mod quota;
pub mod snapshot;
pub mod state;
pub mod stream;
pub mod table;
pub mod time;

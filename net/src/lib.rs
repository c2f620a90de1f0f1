//! What both planes need of the world outside: listening sockets, TLS, lines on a stream and streams of them, error answers, metrics, a clock, and the
//! lines by which a process says where it listens.

pub mod announce;
pub mod clock;
pub mod duplex;
pub mod listen;
pub mod metrics;
pub mod ndjson;
pub mod problem;
pub mod said;
pub mod tls;

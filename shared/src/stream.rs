//! How changes reach proxies: the messages, and both ends of the protocol as state machines without any I/O.

pub mod message;

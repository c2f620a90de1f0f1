//! How changes reach proxies: the messages, and both ends of the protocol as state machines without any I/O.
//!
//! ```text
//!   control plane                                                        proxy
//!   log ─▶ Ring ─▶ Publisher (one a connection) ══ NDJSON both ways ══ Subscriber ─▶ disk, table, listeners
//!    │                 │ levels                                             ▲
//!    └──▶ Roster ◀─────┴────▶ Wait (one a waiting write)                    └── what is still draining
//! ```

#[cfg(test)]
mod fixture;
pub mod hub;
pub mod message;
pub mod planes;
pub mod publisher;
pub mod ring;
pub mod roster;
pub mod subscriber;
pub mod wait;

//! The SMTP edge: turns a mail session into the pipeline's requests, and each message into one HTTP request to an upstream.
//!
//! ```text
//! socket → serve → session → admit: the pipeline, for each recipient → spool → deliver → reply
//! ```
//!
//! What only looks at bytes is public: `fuzz/` looks for what it does not stand.

mod admit;
mod answer;
mod auth;
mod backend;
mod clients;
pub mod command;
pub mod data;
mod deliver;
mod envelope;
mod failures;
#[cfg(test)]
mod fixture;
mod handshake;
mod hex;
mod key;
pub mod lines;
mod machine;
mod outflow;
mod post;
mod proxy;
mod proxy_protocol;
mod received;
mod record;
mod replies;
mod reply;
mod serve;
mod session;
mod shape;
mod signing;
mod spool;
pub mod strip;
mod validate;
mod verdict;
mod wire;
mod xclient;

pub use self::admit::{Reception, admit, authenticate, receive};
pub use self::clients::Clients;
pub use self::deliver::deliver;
pub use self::envelope::{BodyType, Envelope, Mailbox, Notification, Recipient, ReversePath, Tls, Visitor};
pub use self::failures::Failures;
pub use self::record::Record;
pub use self::reply::Reply;
pub use self::serve::serve_connection;
pub use self::spool::{Memory, Spool, SpoolError, Spooled};

#[cfg(test)]
mod tests;

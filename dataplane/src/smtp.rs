//! The SMTP edge: turns a mail session into the pipeline's requests, and each message into one HTTP request to an upstream.
//!
//! ```text
//! socket → lines → session → admit: the pipeline, for each recipient → spool → deliver → reply
//! ```

mod admit;
mod answer;
mod deliver;
mod envelope;
#[cfg(test)]
mod fixture;
mod hex;
mod key;
mod outflow;
mod post;
mod received;
mod reply;
mod shape;
mod signing;
mod spool;
mod strip;
mod validate;
mod verdict;

pub use self::admit::{Reception, admit, authenticate, receive};
pub use self::deliver::deliver;
pub use self::envelope::{BodyType, Envelope, Mailbox, Notification, Recipient, ReversePath, Tls, Visitor};
pub use self::reply::Reply;
pub use self::spool::{Spool, SpoolError, Spooled};

#[cfg(test)]
mod tests;

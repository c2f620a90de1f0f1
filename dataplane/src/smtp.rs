//! The SMTP edge: turns a mail session into the pipeline's requests, and each message into one HTTP request to an upstream.
//!
//! ```text
//! socket → lines → session → admit: the pipeline, for each recipient → spool → deliver → reply
//! ```

mod envelope;
mod reply;

pub use self::envelope::{BodyType, Envelope, Mailbox, Notification, Recipient, ReversePath, Tls, Visitor};
pub use self::reply::Reply;

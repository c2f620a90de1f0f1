//! The SMTP edge: turns a mail session into the pipeline's requests, and each message into one HTTP request to an upstream.
//!
//! ```text
//! socket → lines → session → admit: the pipeline, for each recipient → spool → deliver → reply
//! ```

mod admit;
mod envelope;
mod reply;
mod verdict;

pub use self::admit::{Reception, admit, authenticate, receive};
pub use self::envelope::{BodyType, Envelope, Mailbox, Notification, Recipient, ReversePath, Tls, Visitor};
pub use self::reply::Reply;

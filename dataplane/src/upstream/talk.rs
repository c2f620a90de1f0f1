//! One request and its answer on a connection to an upstream, whoever holds it. Nothing here runs by itself: whoever waits
//! for the answer moves the request as well.

mod converse;
pub mod head;
mod reading;
mod writing;

use std::fmt;
use std::io;

use bytes::Bytes;
use http_body::Body;

pub use self::converse::{Conversation, converse};
pub use self::reading::Reading;
pub use self::writing::Writing;
use crate::codec::Malformed;

/// The body of a request to an upstream.
pub trait OutBody: Body<Data = Bytes> + Unpin + 'static {}

impl<T: Body<Data = Bytes> + Unpin + 'static> OutBody for T {}

/// Why there is no answer, or not the whole of it.
#[derive(Debug)]
pub enum Error {
    /// It is not HTTP, or larger than it may be.
    Malformed(Malformed),
    /// The connection ended before its end.
    Ended,
    Io(io::Error),
    /// The request's body ended before its end.
    Aborted,
    /// This side has ended the connection.
    GivenUp,
}

impl Error {
    pub fn is_malformed(&self) -> bool {
        matches!(self, Error::Malformed(_))
    }

    /// Whether the upstream had a part in it.
    pub fn is_of_upstream(&self) -> bool {
        !matches!(self, Error::Aborted | Error::GivenUp)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed(detail) => f.write_str(detail),
            Error::Ended => f.write_str("the connection was closed"),
            Error::Io(error) => error.fmt(f),
            Error::Aborted => f.write_str("the request's body was not complete"),
            Error::GivenUp => f.write_str("the connection was given up"),
        }
    }
}

impl std::error::Error for Error {}

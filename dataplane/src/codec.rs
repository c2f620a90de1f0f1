//! HTTP/1 as bytes (RFC 9112), the same towards clients and towards upstreams: how a body is cut out of a stream and put
//! into one, how fields are read and written, and a worker's buffers.
//!
//! What comes is held to the grammar to the letter: lines end with CRLF, nothing is folded, trimmed into shape or dropped.

pub mod chunks;
pub mod decoder;
pub mod encoder;
pub mod fields;
pub mod inflow;
pub mod lines;
pub mod outbox;

/// How a message's body is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Also where there is no body: zero.
    Length(u64),
    Chunked,
    /// By the end of the connection.
    UntilEnd,
}

/// What stands there is not HTTP.
pub type Malformed = &'static str;

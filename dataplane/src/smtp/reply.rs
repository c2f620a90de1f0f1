//! What a client is told (RFC 5321, 4.2), with an enhanced status code (RFC 2034, RFC 3463).

use std::borrow::Cow;

/// One reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// `5.7.1`; empty where none is to be said: greetings, and what 3xx asks for.
    pub enhanced: &'static str,
    /// No control characters, at most 400 bytes.
    pub text: Cow<'static, str>,
    /// The connection ends with it.
    pub closes: bool,
}

impl Reply {
    pub const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply {
            code,
            enhanced,
            text: Cow::Borrowed(text),
            closes: false,
        }
    }

    /// The connection ends with it.
    pub const fn closing(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply {
            closes: true,
            code,
            enhanced,
            text: Cow::Borrowed(text),
        }
    }

    pub fn is_positive(&self) -> bool {
        self.code < 400
    }
}

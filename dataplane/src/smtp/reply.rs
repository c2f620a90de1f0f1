//! What a client is told (RFC 5321, 4.2), with an enhanced status code (RFC 2034, RFC 3463).

use std::borrow::Cow;

use shared::model::LimitId;

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
    /// That it is for. The client is not told which.
    pub limit: Option<LimitId>,
}

impl Reply {
    pub const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply {
            code,
            enhanced,
            text: Cow::Borrowed(text),
            closes: false,
            limit: None,
        }
    }

    /// The connection ends with it.
    pub const fn closing(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply {
            closes: true,
            limit: None,
            code,
            enhanced,
            text: Cow::Borrowed(text),
        }
    }

    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// What one of so many recipients is refused by, where one reply is for all of them: the others' mail would bounce with
    /// it. Tried again, each gets its own.
    pub fn shared_by(self, recipients: usize) -> Reply {
        match self.code {
            500.. if recipients > 1 => Reply::new(451, "4.3.0", "a recipient is not taken any more, try again"),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_good_is_no_refusal_of_others() {
        let (for_good, for_now) = (Reply::new(550, "5.7.1", "no"), Reply::new(454, "4.7.0", "not now"));
        assert_eq!(for_good.clone().shared_by(1), for_good);
        assert_eq!(for_good.shared_by(2).code, 451);
        assert_eq!(for_now.clone().shared_by(2), for_now);
    }
}

//! What a mail transaction says: from whom, to whom, by which client (RFC 5321, 2.3.1).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::pipeline::Credentials;

/// Whoever speaks to us, as far as it has said and trusted servers in front of us can tell.
#[derive(Clone)]
pub struct Visitor {
    pub client: IpAddr,
    /// As said in HELO or EHLO; empty before.
    pub helo: String,
    /// EHLO was said, not HELO.
    pub is_extended: bool,
    /// None where the connection is not encrypted.
    pub tls: Option<Tls>,
    /// With what it has authenticated.
    pub credentials: Option<Credentials>,
}

/// In the words of the TLS registries: `TLSv1.3`, `TLS_AES_256_GCM_SHA384`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub protocol: &'static str,
    pub cipher: &'static str,
}

/// `local@domain`, without angle brackets, as sent: no control characters, quotes where it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    text: Arc<str>,
    /// Where the last `@` stands; the length where there is none: `postmaster` alone (RFC 5321, 4.1.1.3).
    at: usize,
}

impl Mailbox {
    /// Of a text that is an address already: its parser looks at it.
    pub fn of(text: &str) -> Mailbox {
        Mailbox {
            text: Arc::from(text),
            at: text.rfind('@').unwrap_or(text.len()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// As sent; empty for `postmaster` alone.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a notification, which nobody is to answer (RFC 5321, 4.5.5).
    Null,
    Of(Mailbox),
}

impl ReversePath {
    /// Empty for the null path.
    pub fn as_str(&self) -> &str {
        match self {
            ReversePath::Null => "",
            ReversePath::Of(mailbox) => mailbox.as_str(),
        }
    }
}

/// RFC 6152
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyType {
    #[default]
    SevenBit,
    EightBitMime,
}

/// What a recipient's parameters say of notifications (RFC 3461, 4): passed on, not acted upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// As sent: `NEVER`, or `SUCCESS,FAILURE,DELAY` in part.
    pub notify: Option<String>,
    /// As sent, in xtext.
    pub original: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub mailbox: Mailbox,
    pub notification: Notification,
}

/// One mail transaction, from its MAIL on.
#[derive(Clone)]
pub struct Envelope {
    pub visitor: Arc<Visitor>,
    pub sender: ReversePath,
    pub recipients: Vec<Recipient>,
    /// Bytes, as declared (RFC 1870).
    pub size: Option<u64>,
    pub body: BodyType,
    pub is_utf8: bool,
    /// RFC 3461, 4.3: `FULL` or `HDRS`, as sent.
    pub ret: Option<String>,
    /// RFC 3461, 4.4, in xtext as sent.
    pub envid: Option<String>,
}

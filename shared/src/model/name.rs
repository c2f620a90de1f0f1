//! Names of services and authorizers, and ids of upstreams: shared text that was checked once, so a clone is a counter.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A newtype of checked, shared text that compares, hashes and borrows as the text.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn shared(&self) -> Arc<str> {
                self.0.clone()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// `[a-z0-9][a-z0-9._-]{0,62}`
    ServiceName
}

text! {
    /// `[a-z0-9][a-z0-9._-]{0,62}`
    AuthorizerName
}

text! {
    /// `[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]{0,127}`: any address without a zone is one, unless it is longer or begins with `_`.
    UpstreamId
}

/// A text that is no name; prints the rule it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName(&'static str);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must match {}", self.0)
    }
}

impl std::error::Error for InvalidName {}

impl TryFrom<&str> for ServiceName {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<ServiceName, InvalidName> {
        plain(text).map(ServiceName)
    }
}

impl TryFrom<&str> for AuthorizerName {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<AuthorizerName, InvalidName> {
        plain(text).map(AuthorizerName)
    }
}

fn plain(text: &str) -> Result<Arc<str>, InvalidName> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match is_name(text, 63, first, |b| first(b) || b"._-".contains(&b)) {
        true => Ok(text.into()),
        false => Err(InvalidName("[a-z0-9][a-z0-9._-]{0,62}")),
    }
}

impl TryFrom<&str> for UpstreamId {
    type Error = InvalidName;

    fn try_from(text: &str) -> Result<UpstreamId, InvalidName> {
        let first = |b: u8| b.is_ascii_alphanumeric() || b == b'[';
        match is_name(text, 128, first, |b| first(b) || b"._:]-".contains(&b)) {
            true => Ok(UpstreamId(text.into())),
            false => Err(InvalidName("[A-Za-z0-9\\[][A-Za-z0-9._:\\[\\]-]{0,127}")),
        }
    }
}

fn is_name(text: &str, most: usize, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= most && bytes.first().is_some_and(|&b| first(b)) && bytes.iter().all(|&b| rest(b))
}

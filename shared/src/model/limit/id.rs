use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A UUID of any version. As a text it has one form: in groups, with digits in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub Uuid);

/// Prints the rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLimitId;

impl fmt::Display for InvalidLimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a UUID in lower case, as 5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b")
    }
}

impl std::error::Error for InvalidLimitId {}

impl TryFrom<&str> for LimitId {
    type Error = InvalidLimitId;

    fn try_from(text: &str) -> Result<LimitId, InvalidLimitId> {
        let id = Uuid::from_str(text).map(LimitId).map_err(|_| InvalidLimitId)?;
        // Two keys in the log must never be one limit.
        match id.to_string() == text {
            true => Ok(id),
            false => Err(InvalidLimitId),
        }
    }
}

impl fmt::Display for LimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

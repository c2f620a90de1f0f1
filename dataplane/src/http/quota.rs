//! What clients are told of limits: the fields of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! How much is left is said only where that is nothing. What a proxy has in hand is a part of it, and no more.

use std::io::Write;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use shared::model::LimitId;

use crate::pipeline::{Counted, Quota};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Both fields' values are shorter: an id in quotes, and two numbers with their names.
const VALUE_MAX: usize = 96;

/// On the answer to an admitted request. Behind what the upstream says of its own limits: both are lists.
pub fn tell(headers: &mut HeaderMap, counted: &Counted) {
    if let Some(quota) = &counted.least {
        append(headers, RATELIMIT_POLICY, policy(quota));
    }
}

/// On a refusal. `spent_for`: seconds until the fleet may have something again, where that is known.
pub fn refuse(headers: &mut HeaderMap, quota: &Quota, spent_for: Option<u64>) {
    append(headers, RATELIMIT_POLICY, policy(quota));
    if let Some(seconds) = spent_for {
        append(headers, RATELIMIT, item(quota.id, ("r", 0), ("t", seconds)));
    }
}

fn policy(quota: &Quota) -> Option<HeaderValue> {
    item(quota.id, ("q", quota.threshold), ("w", quota.period.into()))
}

/// Without an allocation but that of the value.
fn item(id: LimitId, first: (&str, u64), second: (&str, u64)) -> Option<HeaderValue> {
    let mut buffer = [0; VALUE_MAX];
    let mut rest = &mut buffer[..];
    let written = write!(rest, "\"{id}\";{}={};{}={}", first.0, first.1, second.0, second.1);
    let left = rest.len();
    written.ok()?;
    HeaderValue::from_bytes(&buffer[..VALUE_MAX - left]).ok()
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_longest_fits() {
        let quota = Quota {
            id: LimitId(Uuid::max()),
            threshold: 1_000_000_000_000,
            period: 2_678_400,
        };
        let value = policy(&quota).unwrap();
        assert_eq!(
            value,
            "\"ffffffff-ffff-ffff-ffff-ffffffffffff\";q=1000000000000;w=2678400"
        );
        assert!(item(quota.id, ("r", 0), ("t", u64::MAX)).is_some());
    }
}

//! How many tokens a request takes, and what of them goes back.

use http::HeaderMap;
use http::header::HeaderValue;
use shared::model::Cost;

use crate::pipeline::{Counted, ReservedOf, Verdict};

use super::Limiter;

/// Beyond that a limit's threshold is not: no number that a header says is cut to one that passes.
const COST_MAX: u64 = 1_000_000_000;

/// A header that is there and no number is no way around a limit.
pub fn of(cost: &Cost, fields: Option<&HeaderMap>) -> Result<u64, Verdict> {
    let Cost::Said { request_header, .. } = cost else {
        return Ok(cost.usual());
    };
    match fields.map_or(Said::Nothing, |fields| said(fields, request_header)) {
        Said::Nothing => Ok(cost.usual()),
        Said::Number(tokens) if tokens > 0 => Ok(tokens),
        Said::Number(_) | Said::Nonsense => Err(Verdict::BadRequest {
            detail: format!("{request_header} must be a number from 1 on, said once").into(),
        }),
    }
}

/// Under what a limit counts that refuses nothing.
pub fn of_observed(cost: &Cost, fields: Option<&HeaderMap>) -> u64 {
    of(cost, fields).unwrap_or_else(|_| cost.usual())
}

enum Said {
    Nothing,
    Number(u64),
    Nonsense,
}

/// Numbers too long for any use are as good as the greatest.
fn said(fields: &HeaderMap, name: &str) -> Said {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Said::Nothing,
        (Some(value), None) => number(value).map_or(Said::Nonsense, Said::Number),
        (Some(_), Some(_)) => Said::Nonsense,
    }
}

fn number(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = value.to_str().ok().filter(|_| is_number)?;
    Some(number.parse().unwrap_or(u64::MAX).min(COST_MAX + 1))
}

impl Limiter {
    /// What the head of an answer says of the request's reservations. Without a word of it all is used.
    pub(super) fn settle_all(&self, counted: &Counted, answer: &HeaderMap) {
        for reserved in &counted.reserved {
            let used = match said(answer, &reserved.settle_header) {
                Said::Number(used) => used.min(reserved.tokens.into()),
                Said::Nothing | Said::Nonsense => reserved.tokens.into(),
            };
            match reserved.of {
                ReservedOf::Allowance(taken) => self.settle(taken, used),
                ReservedOf::Nothing(account) => self.observe(account, used),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::HeaderName;

    use super::*;

    fn fields(values: &[&'static str]) -> HeaderMap {
        let value = |value: &&'static str| (HeaderName::from_static("x-cost"), HeaderValue::from_static(value));
        values.iter().map(value).collect()
    }

    #[test]
    fn a_header_says_it_or_the_default_does() {
        let cost = Cost::Said {
            request_header: Arc::from("x-cost"),
            default: 3,
        };
        let of = |values: &[&'static str]| super::of(&cost, Some(&fields(values))).ok();
        assert_eq!([of(&[]), of(&["1"]), of(&["0042"])], [Some(3), Some(1), Some(42)]);
        for nonsense in ["0", "", "-1", "+1", "1.5", "1e3", "many", "1, 2"] {
            assert_eq!(of(&[nonsense]), None, "{nonsense}");
            assert_eq!(of_observed(&cost, Some(&fields(&[nonsense]))), 3);
        }
        assert_eq!(of(&["1", "1"]), None, "said twice");
        assert_eq!(of(&["99999999999999999999999"]), Some(COST_MAX + 1));
        assert_eq!(super::of(&cost, None).ok(), Some(3));
    }

    #[test]
    fn what_does_not_depend_on_the_request() {
        let reserved = Cost::Reserved {
            reserve: 40,
            settle_header: Arc::from("x-cost"),
        };
        for (cost, tokens) in [(Cost::Always(7), 7), (reserved, 40)] {
            assert_eq!(of(&cost, Some(&fields(&["9"]))).ok(), Some(tokens));
        }
    }
}

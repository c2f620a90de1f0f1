//! A service's deadlines.

use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::{TOO_LONG, format_duration, parse_duration};
use super::fields::{Fields, Path, kind};
use super::invalid::Errors;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection to an upstream.
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub response: Duration,
    /// Without a byte in either direction, also of an upgraded connection.
    pub idle: Duration,
    /// After it, what is still in flight at an unregistered upstream is cut.
    pub drain: Duration,
}

const CONNECT: Duration = Duration::from_secs(1);
const RESPONSE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(60);

/// A drain that is shorter than the longest answer would cut what the service allows.
fn default_drain(response: Duration) -> Duration {
    response.max(Duration::from_secs(30))
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: CONNECT,
            response: RESPONSE,
            idle: IDLE,
            drain: default_drain(RESPONSE),
        }
    }
}

impl Timeouts {
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Timeouts> {
        let mut fields = Fields::of(value, path, errors)?;
        let connect = fields.read("connect", errors, CONNECT, positive);
        let response = fields.read("response", errors, RESPONSE, positive);
        let idle = fields.read("idle", errors, IDLE, positive);
        let drain = fields.read("drain", errors, default_drain(response.unwrap_or(RESPONSE)), duration);
        fields.finish(errors);
        Some(Timeouts {
            connect: connect?,
            response: response?,
            idle: idle?,
            drain: drain?,
        })
    }

    /// The fields that differ from their defaults, or all of them.
    pub(super) fn to_json(self, all: bool) -> Map<String, Value> {
        let members = [
            ("connect", self.connect, CONNECT),
            ("response", self.response, RESPONSE),
            ("idle", self.idle, IDLE),
            ("drain", self.drain, default_drain(self.response)),
        ];
        let shown = members
            .into_iter()
            .filter(|(_, value, default)| all || value != default);
        shown
            .map(|(name, value, _)| (name.to_owned(), format_duration(value).into()))
            .collect()
    }
}

/// No request lives longer than a day.
const MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) fn duration(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    up_to(MAX, value, path, errors)
}

fn up_to(most: Duration, value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    let Some(text) = value.as_str() else {
        let detail = format_args!("a string with a unit is expected, such as \"30s\", not {}", kind(value));
        errors.invalid(path, detail);
        return None;
    };
    match parse_duration(text) {
        Ok(duration) if duration <= most => return Some(duration),
        Ok(_) | Err(TOO_LONG) => errors.invalid(path, format_args!("{} at most", format_duration(most))),
        Err(detail) => errors.invalid(path, detail),
    }
    None
}

pub(super) fn positive(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    positive_up_to(MAX, value, path, errors)
}

pub(super) fn positive_up_to(most: Duration, value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    let duration = up_to(most, value, path, errors)?;
    if duration.is_zero() {
        errors.invalid(path, "must be longer than zero");
        return None;
    }
    Some(duration)
}

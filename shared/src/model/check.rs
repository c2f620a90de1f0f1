//! How proxies ask an upstream whether it is well.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::format_duration;
use super::fields::{Fields, Path, integer, string};
use super::invalid::Errors;
use super::path::{BadPath, is_escaped};
use super::timeouts::positive;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Origin form with its query, asked for by GET.
    pub path: Arc<str>,
    /// From the beginning of one check to that of the next.
    pub interval: Duration,
    /// For the connection and the answer's head together.
    pub timeout: Duration,
    /// Failed checks in a row that take an upstream out of use, 1..=100.
    pub unhealthy_after: u32,
    /// Passed checks in a row that take it into use, again or for the first time, 1..=100.
    pub healthy_after: u32,
    pub expect: Expect,
}

/// The statuses that pass. Prints as it is written: `2xx`, `204`, `200-399`, and several of them with commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect(Vec<(u16, u16)>);

const PATH_BYTES_MAX: usize = 2048;
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const UNHEALTHY_AFTER: i64 = 3;
const HEALTHY_AFTER: i64 = 2;
const AFTER_MAX: i64 = 100;
const RANGES_MAX: usize = 16;

impl HealthCheck {
    /// `null` is none.
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<HealthCheck>> {
        if value.is_null() {
            return Some(None);
        }
        let mut fields = Fields::of(value, path, errors)?;
        let asked = match fields.take("path") {
            Some(value) => read_path(value, &path.field("path"), errors),
            None => {
                errors.invalid(&path.field("path"), "the field is required");
                None
            }
        };
        let interval = fields.read("interval", errors, INTERVAL, |value, path, errors| {
            let interval = positive(value, path, errors)?;
            if interval < INTERVAL_MIN {
                errors.invalid(path, "10ms at least");
            }
            Some(interval)
        });
        let timeout = fields.read("timeout", errors, TIMEOUT, positive);
        let count = |value: &Value, path: &Path<'_>, errors: &mut Errors| integer(value, path, errors, 1, AFTER_MAX);
        let unhealthy_after = fields.read("unhealthy_after", errors, UNHEALTHY_AFTER, count);
        let healthy_after = fields.read("healthy_after", errors, HEALTHY_AFTER, count);
        let expect = fields.read("expect", errors, Expect::default(), |value, path, errors| {
            let expect = Expect::parse(string(value, path, errors)?);
            expect.map_err(|detail| errors.invalid(path, detail)).ok()
        });
        fields.finish(errors);
        Some(Some(HealthCheck {
            path: asked?,
            interval: interval?,
            timeout: timeout?,
            unhealthy_after: u32::try_from(unhealthy_after?).ok()?,
            healthy_after: u32::try_from(healthy_after?).ok()?,
            expect: expect?,
        }))
    }

    /// The path, and the fields that differ from their defaults, or all of them.
    pub(super) fn to_json(&self, all: bool) -> Value {
        let mut members = Map::new();
        members.insert("path".to_owned(), (*self.path).into());
        let members_of = [
            (
                "interval",
                format_duration(self.interval).into(),
                self.interval == INTERVAL,
            ),
            ("timeout", format_duration(self.timeout).into(), self.timeout == TIMEOUT),
            (
                "unhealthy_after",
                Value::from(self.unhealthy_after),
                i64::from(self.unhealthy_after) == UNHEALTHY_AFTER,
            ),
            (
                "healthy_after",
                self.healthy_after.into(),
                i64::from(self.healthy_after) == HEALTHY_AFTER,
            ),
            (
                "expect",
                self.expect.to_string().into(),
                self.expect == Expect::default(),
            ),
        ];
        let shown = members_of.into_iter().filter(|(_, _, is_default)| all || !is_default);
        members.extend(shown.map(|(name, value, _)| (name.to_owned(), value)));
        Value::Object(members)
    }
}

pub(super) fn read_path(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let text = string(value, path, errors)?;
    let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let is_path = text.starts_with('/') && text.len() <= PATH_BYTES_MAX && text.bytes().all(is_visible);
    if !is_path {
        let rule = "a path from / on is expected, percent-encoded, of at most 2048 bytes";
        errors.invalid(path, rule);
        return None;
    }
    if !is_escaped(text) {
        errors.invalid(path, BadPath::Escape);
        return None;
    }
    Some(text.into())
}

impl Default for Expect {
    fn default() -> Expect {
        Expect(vec![(200, 299)])
    }
}

impl Expect {
    pub fn holds(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn parse(text: &str) -> Result<Expect, &'static str> {
        const RULE: &str = "statuses are expected, as in 2xx, 204, 200-399, or several with commas";
        let ranges: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        ranges
            .filter(|ranges| ranges.len() <= RANGES_MAX)
            .map(Expect)
            .ok_or(RULE)
    }
}

/// A final answer's statuses, from 200 to 599.
fn range(text: &str) -> Option<(u16, u16)> {
    let status = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number)?;
        (200..600).contains(&number).then_some(number)
    };
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => {
            let from = status(&format!("{class}00"))?;
            (from, from + 99)
        }
        (None, Some((from, to))) => (status(from)?, status(to)?),
        (None, None) => (status(text)?, status(text)?),
    };
    (range.0 <= range.1).then_some(range)
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (from, to)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match () {
                () if from == to => write!(f, "{from}")?,
                () if from % 100 == 0 && *to == from + 99 => write!(f, "{}xx", from / 100)?,
                () => write!(f, "{from}-{to}")?,
            }
        }
        Ok(())
    }
}

//! How a service's upstreams are spared and set aside, by each proxy for itself.

use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::format_duration;
use super::fields::{Fields, Path, integer};
use super::invalid::Errors;
use super::timeouts::{duration, positive};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamCare {
    /// 5xx answers in a row by which an upstream is ejected, 0..=1000; 0: by none.
    pub eject_after: u32,
    /// For so long it gets no requests, as long as no more than half of the service's upstreams are ejected.
    pub eject_for: Duration,
    /// Requests at one upstream at a time, 1..=1,000,000; None: as many as come.
    pub max_in_flight: Option<u32>,
    /// Requests that may wait for a place, for each upstream of the service, 0..=10,000.
    pub queue: u32,
    /// For so long each.
    pub queue_for: Duration,
    /// An upstream that came live gets its full share after so long; zero: at once.
    pub slow_start: Duration,
}

const EJECT_AFTER: i64 = 5;
const EJECT_AFTER_MAX: i64 = 1000;
const EJECT_FOR: Duration = Duration::from_secs(10);
const IN_FLIGHT_MAX: i64 = 1_000_000;
const QUEUE_MAX: i64 = 10_000;
const QUEUE_FOR: Duration = Duration::from_secs(1);

impl Default for UpstreamCare {
    fn default() -> UpstreamCare {
        UpstreamCare {
            eject_after: EJECT_AFTER as u32,
            eject_for: EJECT_FOR,
            max_in_flight: None,
            queue: 0,
            queue_for: QUEUE_FOR,
            slow_start: Duration::ZERO,
        }
    }
}

impl UpstreamCare {
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<UpstreamCare> {
        let mut fields = Fields::of(value, path, errors)?;
        let eject_after = fields.read("eject_after", errors, EJECT_AFTER, |value, path, errors| {
            integer(value, path, errors, 0, EJECT_AFTER_MAX)
        });
        let eject_for = fields.read("eject_for", errors, EJECT_FOR, positive);
        let max_in_flight = fields.read("max_in_flight", errors, None, |value, path, errors| match value {
            Value::Null => Some(None),
            value => integer(value, path, errors, 1, IN_FLIGHT_MAX).map(Some),
        });
        let queue = fields.read("queue", errors, 0, |value, path, errors| {
            integer(value, path, errors, 0, QUEUE_MAX)
        });
        let queue_for = fields.read("queue_for", errors, QUEUE_FOR, positive);
        let slow_start = fields.read("slow_start", errors, Duration::ZERO, duration);
        fields.finish(errors);
        Some(UpstreamCare {
            eject_after: u32::try_from(eject_after?).ok()?,
            eject_for: eject_for?,
            max_in_flight: max_in_flight?.and_then(|most| u32::try_from(most).ok()),
            queue: u32::try_from(queue?).ok()?,
            queue_for: queue_for?,
            slow_start: slow_start?,
        })
    }

    /// The fields that differ from their defaults, or all of them.
    pub(super) fn to_json(self, all: bool) -> Map<String, Value> {
        let default = UpstreamCare::default();
        let members = [
            (
                "eject_after",
                Value::from(self.eject_after),
                self.eject_after == default.eject_after,
            ),
            (
                "eject_for",
                format_duration(self.eject_for).into(),
                self.eject_for == default.eject_for,
            ),
            ("max_in_flight", self.max_in_flight.into(), self.max_in_flight.is_none()),
            ("queue", self.queue.into(), self.queue == default.queue),
            (
                "queue_for",
                format_duration(self.queue_for).into(),
                self.queue_for == default.queue_for,
            ),
            (
                "slow_start",
                format_duration(self.slow_start).into(),
                self.slow_start == default.slow_start,
            ),
        ];
        let shown = members.into_iter().filter(|(_, _, is_default)| all || !is_default);
        shown.map(|(name, value, _)| (name.to_owned(), value)).collect()
    }
}

//! How a service's upstreams are spared and set aside, by each proxy for itself.

use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::format_duration;
use super::fields::{Fields, Path, integer};
use super::invalid::Errors;
use super::later;
use super::timeouts::positive;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamCare {
    /// 5xx answers in a row by which an upstream is ejected, 0..=1000; 0: by none.
    pub eject_after: u32,
    /// For so long it gets no requests, as long as no more than half of the service's upstreams are ejected.
    pub eject_for: Duration,
}

const EJECT_AFTER: i64 = 5;
const EJECT_AFTER_MAX: i64 = 1000;
const EJECT_FOR: Duration = Duration::from_secs(10);

impl Default for UpstreamCare {
    fn default() -> UpstreamCare {
        UpstreamCare {
            eject_after: EJECT_AFTER as u32,
            eject_for: EJECT_FOR,
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
        later::upstream_care(&mut fields, path, errors);
        fields.finish(errors);
        Some(UpstreamCare {
            eject_after: u32::try_from(eject_after?).ok()?,
            eject_for: eject_for?,
        })
    }

    /// The fields that differ from their defaults, or all of them.
    pub(super) fn to_json(self, all: bool) -> Map<String, Value> {
        let default = UpstreamCare::default();
        let mut members = Map::new();
        if all || self.eject_after != default.eject_after {
            members.insert("eject_after".to_owned(), self.eject_after.into());
        }
        if all || self.eject_for != default.eject_for {
            members.insert("eject_for".to_owned(), format_duration(self.eject_for).into());
        }
        members
    }
}

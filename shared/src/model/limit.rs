//! A rate limit: which requests count, under what, how many may pass, and what happens beyond.

mod cost;
mod id;
mod read;

use std::time::Duration;

use serde_json::{Map, Value};

use super::choice::name_of;
use super::duration::format_duration;
use super::invalid::{Errors, Invalid};
use super::json;
use super::name::ServiceName;
use super::pattern::Pattern;
use super::size::format_size;
use crate::change::Body;
use read::read;

pub use crate::quota::{Algorithm, OnUnreachable};
pub use cost::Cost;
pub use id::LimitId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub id: LimitId,
    pub auth_token: Pattern,
    pub protocol: Pattern,
    pub method: Pattern,
    /// Of an HTTP path in the form in which paths are compared, without the query; of a recipient's domain.
    pub path: Pattern,
    /// Bytes: it applies to requests at least so long.
    pub data_size: u64,
    /// Seconds, 1..=2,678,400.
    pub period: u32,
    /// In each period, 0..=10^12; 0 refuses all.
    pub threshold: u64,
    /// Only there; None: everywhere. It need not exist.
    pub service: Option<ServiceName>,
    pub algorithm: Algorithm,
    pub on_unreachable: OnUnreachable,
    pub mode: Mode,
    /// Whether it replaces less specific limits of its service.
    pub overrides: bool,
    pub key: CountedUnder,
    pub cost: Cost,
    /// How long a request is held for its turn; zero: refused at once.
    pub delay_max: Duration,
    /// So many at a time, 1..=1,000,000; None: as many as come.
    pub concurrent: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    /// It counts what it would refuse.
    Observe,
}

/// Requests that agree in it share the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountedUnder {
    /// Empty for requests that nobody authorized.
    #[default]
    AuthToken,
    /// From the authorizer's answer: one budget for several tokens.
    LimitKey,
    ClientIp,
}

impl Algorithm {
    const ALL: [(&'static str, Algorithm); 2] = [("sliding", Algorithm::Sliding), ("fixed", Algorithm::Fixed)];
}

impl OnUnreachable {
    const ALL: [(&'static str, OnUnreachable); 3] = [
        ("share", OnUnreachable::Share),
        ("closed", OnUnreachable::Closed),
        ("open", OnUnreachable::Open),
    ];
}

impl Mode {
    const ALL: [(&'static str, Mode); 2] = [("enforce", Mode::Enforce), ("observe", Mode::Observe)];
}

impl CountedUnder {
    const ALL: [(&'static str, CountedUnder); 3] = [
        ("auth_token", CountedUnder::AuthToken),
        ("limit_key", CountedUnder::LimitKey),
        ("client_ip", CountedUnder::ClientIp),
    ];
}

const PERIOD: i64 = 60;

impl Limit {
    pub fn parse(id: &str, json: &str) -> Result<Limit, Invalid> {
        Limit::from_value(id, &json::parse(json)?)
    }

    /// `value` without `id` and `revision`, which a representation carries besides the stored fields.
    pub fn from_value(id: &str, value: &Value) -> Result<Limit, Invalid> {
        let mut errors = Errors::default();
        let limit = read(limit_id(id)?, value, &mut errors);
        errors.finish(limit)
    }

    /// What a merge patch (RFC 7396) makes of what is `stored`. A name that there is not is refused also where its value
    /// is null, which leaves no trace in the result.
    pub fn patched(id: &str, stored: Value, patch: &Value) -> Result<Limit, Invalid> {
        let mut errors = Errors::default();
        read(limit_id(id)?, patch, &mut errors);
        errors.finish_names()?;
        Limit::from_value(id, &json::merged(stored, patch))
    }

    /// What is stored and digested: compact, fields at their defaults left out. Equal limits have equal bodies.
    pub fn body(&self) -> Body {
        Body::of_value(&self.to_json(false))
    }

    /// Every field, defaults filled in.
    pub fn document(&self) -> Value {
        self.to_json(true)
    }

    fn to_json(&self, all: bool) -> Value {
        let mut members = Map::from_iter([("threshold".to_owned(), self.threshold.into())]);
        for (name, is_default, value) in self.matching().into_iter().chain(self.counting()) {
            if all || !is_default {
                members.insert(name.to_owned(), value);
            }
        }
        Value::Object(members)
    }

    /// Each field with whether it stands at its default: which requests it is about.
    fn matching(&self) -> [(&'static str, bool, Value); 6] {
        let pattern = |name, pattern: &Pattern| (name, pattern.is_default(), pattern.as_str().into());
        [
            pattern("auth_token", &self.auth_token),
            pattern("protocol", &self.protocol),
            pattern("method", &self.method),
            pattern("path", &self.path),
            ("data_size", self.data_size == 0, format_size(self.data_size)),
            (
                "service",
                self.service.is_none(),
                self.service.as_ref().map(ServiceName::as_str).into(),
            ),
        ]
    }

    /// And how it counts them.
    fn counting(&self) -> [(&'static str, bool, Value); 9] {
        let Limit {
            algorithm,
            on_unreachable,
            mode,
            key,
            ..
        } = *self;
        [
            ("period", i64::from(self.period) == PERIOD, self.period.into()),
            (
                "algorithm",
                algorithm == Algorithm::default(),
                name_of(&Algorithm::ALL, algorithm),
            ),
            (
                "on_unreachable",
                on_unreachable == OnUnreachable::default(),
                name_of(&OnUnreachable::ALL, on_unreachable),
            ),
            ("mode", mode == Mode::default(), name_of(&Mode::ALL, mode)),
            ("override", !self.overrides, self.overrides.into()),
            ("key", key == CountedUnder::default(), name_of(&CountedUnder::ALL, key)),
            ("cost", self.cost == Cost::default(), self.cost.to_json()),
            (
                "delay_max",
                self.delay_max.is_zero(),
                format_duration(self.delay_max).into(),
            ),
            ("concurrent", self.concurrent.is_none(), self.concurrent.into()),
        ]
    }
}

fn limit_id(id: &str) -> Result<LimitId, Invalid> {
    LimitId::try_from(id).map_err(|rule| Invalid::field("id", rule))
}

//! How a service spreads its requests.

use serde_json::Value;

use super::fields::{Path, kind};
use super::invalid::Errors;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices over the requests in flight.
    #[default]
    LeastRequest,
    RoundRobin,
    Random,
}

impl Balance {
    pub fn as_str(self) -> &'static str {
        match self {
            Balance::LeastRequest => "least_request",
            Balance::RoundRobin => "round_robin",
            Balance::Random => "random",
        }
    }

    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Balance> {
        match value {
            Value::String(name) => {
                let known = [Balance::LeastRequest, Balance::RoundRobin, Balance::Random];
                let found = known.into_iter().find(|balance| balance.as_str() == name);
                if found.is_none() {
                    errors.invalid(path, "one of least_request, round_robin, random is expected");
                }
                found
            }
            Value::Object(map) if map.keys().eq(["consistent_hash"]) => {
                errors.not_supported(&path.field("consistent_hash"));
                None
            }
            other => {
                errors.invalid(path, format_args!("a string is expected, not {}", kind(other)));
                None
            }
        }
    }
}

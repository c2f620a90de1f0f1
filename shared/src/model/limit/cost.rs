//! How many tokens a request takes.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::fields::{Fields, Path, integer, string};
use crate::model::invalid::Errors;
use crate::model::vary::field_name;

/// Each number is 1..=10^9 tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    Always(u64),
    /// What the request says in the header with this name, in lower case.
    Said {
        request_header: Arc<str>,
        default: u64,
    },
    /// The most that it may be; what the answer says was not used goes back.
    Reserved {
        reserve: u64,
        settle_header: Arc<str>,
    },
}

const COST_MAX: i64 = 1_000_000_000;

impl Default for Cost {
    fn default() -> Cost {
        Cost::Always(1)
    }
}

impl Cost {
    pub(super) fn read(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Cost> {
        if !value.is_object() {
            return tokens(value, path, errors).map(Cost::Always);
        }
        let mut fields = Fields::of(value, path, errors)?;
        let cost = match value.get("reserve") {
            Some(_) => {
                let reserve = fields.read("reserve", errors, 1, tokens);
                let settle_header = required(&mut fields, "settle_header", path, errors);
                reserve
                    .zip(settle_header)
                    .map(|(reserve, settle_header)| Cost::Reserved { reserve, settle_header })
            }
            None => {
                let request_header = required(&mut fields, "request_header", path, errors);
                let default = fields.read("default", errors, 1, tokens);
                request_header.zip(default).map(|(request_header, default)| Cost::Said {
                    request_header,
                    default,
                })
            }
        };
        fields.finish(errors);
        cost
    }

    /// Of a request that says nothing about it.
    pub fn usual(&self) -> u64 {
        match self {
            Cost::Always(tokens) => *tokens,
            Cost::Said { default, .. } => *default,
            Cost::Reserved { reserve, .. } => *reserve,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Cost::Always(tokens) => (*tokens).into(),
            Cost::Said {
                request_header,
                default,
            } => json!({"request_header": **request_header, "default": default}),
            Cost::Reserved { reserve, settle_header } => {
                json!({"reserve": reserve, "settle_header": **settle_header})
            }
        }
    }
}

fn tokens(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<u64> {
    integer(value, path, errors, 1, COST_MAX).and_then(|tokens| u64::try_from(tokens).ok())
}

fn required(fields: &mut Fields<'_>, name: &'static str, path: &Path<'_>, errors: &mut Errors) -> Option<Arc<str>> {
    let path = &path.field(name);
    match fields.take(name) {
        Some(value) => field_name(string(value, path, errors)?, path, errors),
        None => {
            errors.invalid(path, "the field is required");
            None
        }
    }
}

//! Query parameters: known by name, given once, decoded.

use std::time::Duration;

use net::problem::{self, Problem};
use percent_encoding::percent_decode_str;
use shared::model::parse_duration;

use super::cursor::Cursor;
use crate::registry::plan::Goal;

pub struct Query(Vec<(String, String)>);

impl Query {
    /// What is unknown or repeated is an error: a typing error in `?timeout=` must not become a default.
    pub fn parse(raw: Option<&str>, known: &[&str]) -> Result<Query, Problem> {
        Query::parse_with(raw, known, "")
    }

    /// As `parse`, but that one parameter may be given several times.
    pub fn parse_with(raw: Option<&str>, known: &[&str], several: &str) -> Result<Query, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in raw.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let expected = if known.is_empty() {
                    "none are taken here".into()
                } else {
                    known.join(", ")
                };
                return Err(malformed(
                    &name,
                    &format!("the query parameter is unknown; known: {expected}"),
                ));
            }
            if name != several && pairs.iter().any(|(other, _)| *other == name) {
                return Err(malformed(&name, "the query parameter is repeated"));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// Of a parameter that may be given several times.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.0.iter().filter(move |(other, _)| other == name);
        given.map(|(_, value)| value.as_str())
    }

    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        self.value(name)
            .ok_or_else(|| invalid(name, "the query parameter is required"))
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let parse = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse().ok(),
            false => None,
        };
        self.value(name)
            .map(|text| parse(text).ok_or_else(|| invalid(name, "a whole number is expected")))
            .transpose()
    }

    /// `?limit=` of lists.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.number("limit")? {
            None => Ok(100),
            Some(limit @ 1..=1000) => Ok(usize::try_from(limit).unwrap_or(1000)),
            Some(_) => Err(invalid("limit", "1 to 1000 is expected")),
        }
    }

    /// `?cursor=` of a list; `list` names it with what it was asked for.
    pub fn cursor(&self, list: impl Into<String>) -> Result<Cursor, Problem> {
        Cursor::parse(list.into(), self.value("cursor"))
    }

    /// False when it is not given.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.value(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(name, "one of true, false is expected")),
        }
    }

    pub fn goal(&self) -> Result<Option<Goal>, Problem> {
        let Some(text) = self.value("wait") else {
            return Ok(None);
        };
        match Goal::NAMES.iter().find(|(name, _)| *name == text) {
            Some((_, goal)) => Ok(Some(*goal)),
            None => Err(invalid("wait", "one of none, applied, healthy, drained is expected")),
        }
    }

    pub fn timeout(&self) -> Result<Option<Duration>, Problem> {
        const MAX: Duration = Duration::from_secs(600);
        let Some(text) = self.value("timeout") else {
            return Ok(None);
        };
        match parse_duration(text) {
            Ok(timeout) if timeout <= MAX => Ok(Some(timeout)),
            Ok(_) => Err(invalid("timeout", "10m at most")),
            Err(detail) => Err(invalid("timeout", detail)),
        }
    }
}

pub fn invalid(field: &str, detail: &str) -> Problem {
    Problem::new(problem::INVALID, format!("{field}: {detail}")).field(field, detail)
}

fn malformed(field: &str, detail: &str) -> Problem {
    Problem::new(problem::MALFORMED, format!("{field}: {detail}")).field(field, detail)
}

/// As forms encode it: `+` is a space.
fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| Problem::new(problem::MALFORMED, "the query is not UTF-8"))
}

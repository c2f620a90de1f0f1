//! New requests of a service wait: until it is resumed, or for so long.

use std::time::Duration;

use serde_json::{Value, json as object};

use super::duration::{format_duration, parse_duration};
use super::fields::{Fields, Path, string};
use super::invalid::{Errors, Invalid};
use super::json;
use crate::change::Body;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// From when it is seen, by the clock of whoever sees it; `Hold::LEAST..=Hold::MOST`.
    pub max: Duration,
}

impl Default for Hold {
    fn default() -> Hold {
        Hold {
            max: Duration::from_secs(30),
        }
    }
}

impl Hold {
    /// Shorter than the way to a proxy it would be over before it is everywhere.
    pub const LEAST: Duration = Duration::from_secs(1);
    /// No client waits for longer.
    pub const MOST: Duration = Duration::from_secs(600);

    pub fn parse(json: &str) -> Result<Hold, Invalid> {
        Hold::from_value(&json::parse(json)?)
    }

    pub fn from_value(value: &Value) -> Result<Hold, Invalid> {
        let mut errors = Errors::default();
        let hold = read(value, &mut errors);
        errors.finish(hold)
    }

    pub fn body(&self) -> Body {
        Body::of_value(&self.document())
    }

    pub fn document(&self) -> Value {
        object!({ "max": format_duration(self.max) })
    }
}

fn read(value: &Value, errors: &mut Errors) -> Option<Hold> {
    let mut fields = Fields::of(value, &Path::Root, errors)?;
    let max = fields.read("max", errors, Hold::default().max, limited);
    fields.finish(errors);
    Some(Hold { max: max? })
}

fn limited(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    let parsed = parse_duration(string(value, path, errors)?);
    match parsed {
        Ok(max) if (Hold::LEAST..=Hold::MOST).contains(&max) => return Some(max),
        Ok(_) => errors.invalid(path, "from 1s to 10m is expected"),
        Err(rule) => errors.invalid(path, rule),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_as_it_is_read() {
        for (text, seconds) in [("{}", 30), (r#"{"max":"1s"}"#, 1), (r#"{"max":"600000ms"}"#, 600)] {
            let hold = Hold::parse(text).unwrap();
            assert_eq!(hold.max, Duration::from_secs(seconds), "{text}");
            assert_eq!(Hold::parse(hold.body().as_str()).unwrap(), hold);
        }
        assert_eq!(Hold::default().body().as_str(), r#"{"max":"30s"}"#);
    }

    #[test]
    fn it_has_an_end() {
        for wrong in [
            r#"{"max":"999ms"}"#,
            r#"{"max":"0s"}"#,
            r#"{"max":"601s"}"#,
            r#"{"max":30}"#,
            r#"{"max":null}"#,
            r#"{"max":"soon"}"#,
            r#"{"for":"30s"}"#,
            "[]",
        ] {
            let invalid = Hold::parse(wrong).unwrap_err();
            assert_eq!(invalid.errors.len(), 1, "{wrong}: {invalid}");
        }
    }
}

//! New requests of a service wait: until it is resumed, or for so long.

use std::time::Duration;

use serde_json::{Value, json as object};
use uuid::Uuid;

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

    /// As it is asked for: `{"max": "30s"}`.
    pub fn asked(value: &Value) -> Result<Hold, Invalid> {
        let mut errors = Errors::default();
        let hold = Fields::of(value, &Path::Root, &mut errors).and_then(|fields| read(fields, &mut errors));
        errors.finish(hold)
    }

    /// As it stands in the log.
    pub fn parse(json: &str) -> Result<Hold, Invalid> {
        let value = json::parse(json)?;
        let mut errors = Errors::default();
        let hold = read_logged(&value, &mut errors);
        errors.finish(hold)
    }

    /// For the log. `id` is of this one alone: two that say the same are two events, and a proxy that has the one, from a
    /// history that was lost, must not take the other for it, whose time has yet to begin.
    pub fn body(&self, id: Uuid) -> Body {
        Body::of_value(&object!({ "id": id.simple().to_string(), "max": format_duration(self.max) }))
    }

    pub fn document(&self) -> Value {
        object!({ "max": format_duration(self.max) })
    }
}

fn read_logged(value: &Value, errors: &mut Errors) -> Option<Hold> {
    let root = &Path::Root;
    let mut fields = Fields::of(value, root, errors)?;
    if let Some(id) = fields.take("id") {
        string(id, &root.field("id"), errors)?;
    }
    read(fields, errors)
}

fn read(mut fields: Fields<'_>, errors: &mut Errors) -> Option<Hold> {
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
            let [one, other] = [7, 8].map(|id| hold.body(Uuid::from_u128(id)));
            assert_ne!(one, other, "two are two, though they say the same");
            assert_eq!(Hold::parse(one.as_str()).unwrap(), hold);
        }
        assert_eq!(Hold::default().document().to_string(), r#"{"max":"30s"}"#);
        assert!(Hold::asked(&object!({"id": "0"})).is_err());
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

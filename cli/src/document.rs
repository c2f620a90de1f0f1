//! A configuration as a file: JSON, YAML or TOML. The API speaks JSON alone.

mod yaml;

use std::path::Path;

use serde_json::Value;

use crate::args::Format;

/// As much as the API takes.
pub const BYTES_MAX: u64 = 128 << 20;

/// Which form a file's name promises.
pub fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        "toml" => Some(Format::Toml),
        _ => None,
    }
}

/// What is JSON already is sent as it stands: the API tells what it says twice.
pub fn to_json(text: String, format: Option<Format>) -> Result<String, String> {
    let looks_like_json = text.trim_start().starts_with('{');
    match format {
        Some(Format::Json) => Ok(text),
        Some(Format::Toml) => {
            let table: toml::Table = toml::from_str(&text).map_err(|error| error.to_string().trim_end().to_owned())?;
            serde_json::to_string(&table).map_err(|error| error.to_string())
        }
        None if looks_like_json => Ok(text),
        Some(Format::Yaml) | None => yaml::read(&text).map(|value| value.to_string()),
    }
}

/// For people: a member a line.
pub fn print(document: &Value, format: Format) -> Result<String, String> {
    let mut text = match format {
        Format::Json => serde_json::to_string_pretty(document).map_err(|error| error.to_string())?,
        Format::Yaml => yaml::print(document)?,
        Format::Toml => toml::to_string(document).map_err(|error| error.to_string())?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "authorizers": {"main": {"service": "auth"}},
            "limits": {"5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b": {"threshold": 1_000_000_000_000_u64, "path": "/v1/.*: \"x\" #"}},
            "services": {
                "auth": {"match": []},
                "1": {"match": [{"hosts": ["*", "a.test"], "headers": {"x": "true", "y": "null", "z": "1"}}],
                    "open": true, "upstreams": {"127.0.0.1:3000": {}, "[::1]:80": {"weight": 0}, "3": {"address": "é:1"}, "~": {"address": " a\nb"}}},
            },
        })
    }

    #[test]
    fn every_form_says_the_same() {
        for format in [Format::Json, Format::Yaml, Format::Toml] {
            let text = print(&document(), format).unwrap();
            let json = to_json(text.clone(), Some(format)).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document(), "{text}");
            assert_eq!(print(&document(), format).unwrap(), text);
        }
    }

    #[test]
    fn the_standard_input_is_json_or_yaml() {
        assert_eq!(
            to_json(" {\"a\": 1, \"a\": 2}".to_owned(), None).unwrap(),
            " {\"a\": 1, \"a\": 2}"
        );
        assert_eq!(
            to_json("a: 1\nb: [x, ~]".to_owned(), None).unwrap(),
            r#"{"a":1,"b":["x",null]}"#
        );
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (text, format) in [
            ("a: 1\na: 2", Format::Yaml),
            ("a: 1\n---\na: 2", Format::Yaml),
            ("", Format::Yaml),
            ("{", Format::Yaml),
            ("? [a]\n: 1", Format::Yaml),
            ("a: .nan", Format::Yaml),
            ("a: !thing 5", Format::Yaml),
            ("a = 1\na = 2", Format::Toml),
        ] {
            assert!(to_json(text.to_owned(), Some(format)).is_err(), "{text:?}");
        }
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert!(to_json(deep, Some(Format::Yaml)).is_err());
    }

    #[test]
    fn a_name_promises_a_form() {
        assert_eq!(format_of(Path::new("a/b.yml")), Some(Format::Yaml));
        assert_eq!(format_of(Path::new("-")), None);
    }
}

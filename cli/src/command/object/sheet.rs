//! One object for people: a line for each field, by the name that errors call it by.

use serde_json::Value;

use crate::client::{items, plain};
use crate::columns;

/// What it is called stands first.
const FIRST: [&str; 4] = ["name", "service", "id", "revision"];

pub fn render(object: &Value) -> String {
    let members = object.as_object().into_iter().flatten();
    // An authorizer's `service` is a field like others.
    let names_it = |name: &str| FIRST.contains(&name) && (name != "service" || object["id"].is_string());
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (name, value) in members {
        match names_it(name) {
            true => first.push(vec![name.clone(), plain(value)]),
            false => add(&mut rest, name, value),
        }
    }
    first.sort_by_key(|row| FIRST.iter().position(|name| *name == row[0]));
    first.append(&mut rest);
    columns::render(&["FIELD", "VALUE"], &first)
}

fn add(rows: &mut Vec<Vec<String>>, name: &str, value: &Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                add(rows, &format!("{name}.{member}"), value);
            }
        }
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in list.iter().enumerate() {
                add(rows, &format!("{name}[{at}]"), item);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let words: Vec<String> = items(value).iter().map(plain).collect();
            rows.push(vec![name.to_owned(), words.join(", ")]);
        }
        value => rows.push(vec![name.to_owned(), plain(value)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_as_errors_name_them() {
        let service = json!({
            "allow": [], "authorizer": null, "match": [{"hosts": ["a.example", "b.example"], "priority": 0}],
            "name": "web", "open": false, "revision": 7, "timeouts": {"connect": "1s"}
        });
        let expected = "\
FIELD              VALUE
name               web
revision           7
allow              []
authorizer         -
match[0].hosts     a.example, b.example
match[0].priority  0
open               no
timeouts.connect   1s
";
        assert_eq!(render(&service), expected);
    }

    #[test]
    fn what_an_object_is_called_stands_first() {
        let upstream = json!({"address": "10.0.0.5:80", "id": "a", "revision": 3, "service": "web"});
        let names: Vec<String> = render(&upstream)
            .lines()
            .map(|line| line[..8].trim().to_owned())
            .collect();
        assert_eq!(names, ["FIELD", "service", "id", "revision", "address"]);
        let authorizer = json!({"cache": {}, "name": "main", "service": "auth"});
        let names: Vec<String> = render(&authorizer)
            .lines()
            .map(|line| line[..7].trim().to_owned())
            .collect();
        assert_eq!(names, ["FIELD", "name", "cache", "service"]);
    }
}

//! What a dry run would change, as a person reads it: what comes, goes and becomes another, field by field.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use serde_json::{Map, Value};

use crate::client::{items, plain};

/// How a line is shown on a terminal.
#[derive(Clone, Copy)]
enum Ink {
    Plain,
    Green,
    Yellow,
    Red,
}

/// Whether the standard output is to be coloured: <https://no-color.org>.
pub fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `body`: the answer of a dry run.
pub fn render(body: &Value, is_coloured: bool) -> String {
    let mut lines = Vec::new();
    let (mut new, mut changed, mut gone) = (0, 0, 0);
    for change in items(&body["changes"]) {
        let object = format!("{} {}", plain(&change["kind"]), plain(&change["key"]));
        let (before, after) = (&change["before"], &change["after"]);
        match (before.as_object(), after.as_object()) {
            (None, Some(after)) => {
                new += 1;
                lines.push((Ink::Green, format!("+ {object}")));
                lines.extend(
                    after
                        .iter()
                        .map(|(name, value)| (Ink::Green, format!("    {name}: {value}"))),
                );
            }
            (Some(before), Some(after)) => {
                changed += 1;
                lines.push((Ink::Yellow, format!("~ {object}")));
                lines.extend(fields(before, after));
            }
            _ => {
                gone += 1;
                lines.push((Ink::Red, format!("- {object}")));
            }
        }
    }
    if let Some(more) = body["more"].as_u64() {
        lines.push((Ink::Plain, format!("and {more} more")));
    }
    let summary = match lines.is_empty() {
        true => "nothing would change".to_owned(),
        false => format!("{new} new, {changed} changed, {gone} deleted; this was a dry run"),
    };
    lines.push((Ink::Plain, summary));
    if body["atomic"] == false {
        lines.push((
            Ink::Plain,
            "it would take several revisions, one after another".to_owned(),
        ));
    }
    let shown = lines.into_iter().map(|(ink, line)| match is_coloured {
        true => painted(ink, &visible(&line)),
        false => visible(&line),
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn fields(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<(Ink, String)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                lines.push((Ink::Red, format!("  - {name}: {old}")));
                lines.push((Ink::Green, format!("  + {name}: {new}")));
            }
            (Some(old), None) => lines.push((Ink::Red, format!("  - {name}: {old}"))),
            (None, Some(new)) => lines.push((Ink::Green, format!("  + {name}: {new}"))),
            (None, None) => {}
        }
    }
    lines
}

/// Nothing in it that a terminal would obey.
fn visible(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn painted(ink: Ink, line: &str) -> String {
    let code = match ink {
        Ink::Plain => return line.to_owned(),
        Ink::Green => 32,
        Ink::Yellow => 33,
        Ink::Red => 31,
    };
    format!("\u{1b}[{code}m{line}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_shown() {
        let body = json!({"revision": 7, "atomic": true, "changes": [
            {"verb": "put", "kind": "service", "key": "new", "before": null, "after": {"match": []}},
            {"verb": "put", "kind": "upstream", "key": "web/a", "before": {"address": "h:1", "weight": 2}, "after": {"address": "h:2", "state": "draining"}},
            {"verb": "delete", "kind": "limit", "key": "x\u{1b}y", "before": {"threshold": 1}, "after": null},
        ]});
        let expected = "\
+ service new
    match: []
~ upstream web/a
  - address: \"h:1\"
  + address: \"h:2\"
  + state: \"draining\"
  - weight: 2
- limit x y
1 new, 1 changed, 1 deleted; this was a dry run";
        assert_eq!(render(&body, false), expected);
        assert!(render(&body, true).contains("\u{1b}[31m- limit x y\u{1b}[0m\n"));
        assert_eq!(
            render(&json!({"changes": [], "atomic": true}), false),
            "nothing would change"
        );
    }
}

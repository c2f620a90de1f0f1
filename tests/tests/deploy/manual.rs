//! What `--help` of a command says there is, and what a file says that is not there.

use std::collections::{BTreeMap, BTreeSet};

use vulcan_tests::binary;

use crate::invocation::Invocation;

pub struct Manual {
    command: String,
    /// Whether each takes a value.
    flags: BTreeMap<String, bool>,
    pub variables: BTreeSet<String>,
}

impl Manual {
    pub fn of(command: &str) -> Manual {
        let output = binary::vulcan().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "vulcan {command} --help");
        let text = String::from_utf8(output.stdout).unwrap();
        let manual = Manual {
            command: command.to_owned(),
            // Deeper than this begins what a line was broken into.
            flags: text
                .lines()
                .filter_map(|line| line.strip_prefix("      --"))
                .map(flag)
                .collect(),
            variables: variables(&text).map(str::to_owned).collect(),
        };
        assert!(manual.has("log") && manual.variables.contains("VULCAN_LOG"), "{text}");
        manual
    }

    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    /// Everything that the command would not take, each with its place.
    pub fn complaints(&self, invocation: &Invocation) -> Vec<String> {
        let command = &self.command;
        let mut complaints = Vec::new();
        let mut words = invocation.arguments().iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.text.strip_prefix("--") else {
                complaints.push(format!("{}: `vulcan {command}` takes no `{}`", word.place, word.text));
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            match (self.flags.get(name), value) {
                (None, _) => complaints.push(format!("{}: `vulcan {command}` has no flag --{name}", word.place)),
                (Some(true), None) if words.next().is_none() => {
                    complaints.push(format!("{}: --{name} needs a value", word.place));
                }
                (Some(false), Some(_)) => complaints.push(format!("{}: --{name} takes no value", word.place)),
                _ => {}
            }
        }
        for (name, _) in &invocation.variables {
            if name.text.starts_with("VULCAN_") && !self.variables.contains(&name.text) {
                let (place, name) = (&name.place, &name.text);
                complaints.push(format!("{place}: `vulcan {command}` reads no {name}"));
            }
        }
        complaints
    }
}

/// From `store <URL>  Where the log is kept`.
fn flag(line: &str) -> (String, bool) {
    let name = line.split(' ').next().unwrap_or_default();
    (name.to_owned(), line[name.len()..].starts_with(" <"))
}

/// The names of variables in a text.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.strip_prefix("VULCAN_").is_some_and(|rest| !rest.is_empty()))
}

/// The names of flags in a text, without their dashes.
pub fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_lowercase() && c != '-')
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|name| !name.is_empty())
}

//! Unit files of systemd, and the files of settings beside them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::invocation::{Invocation, Place, Word};
use crate::{FINISH_WITHIN, drain_timeout, read};

/// The folder that the files of settings are copied to.
pub const ETC: &str = "/etc/vulcan/";

pub struct Unit {
    name: String,
    file: String,
    /// Section, key, value and line.
    settings: Vec<(String, String, String, usize)>,
}

impl Unit {
    pub fn parse(file: &str, text: &str) -> Unit {
        let mut section = String::new();
        let mut settings = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            assert!(!line.ends_with('\\'), "{file}:{number}: a continuation");
            match line.split_once('=') {
                _ if line.is_empty() || line.starts_with('#') => {}
                _ if line.starts_with('[') => section = line.trim_matches(['[', ']']).to_owned(),
                Some((key, value)) => settings.push((section.clone(), key.to_owned(), value.to_owned(), number)),
                None => panic!("{file}:{number}: neither a section nor a setting"),
            }
        }
        let name = file.rsplit('/').next().unwrap_or_default();
        Unit {
            name: name.trim_end_matches(".service").to_owned(),
            file: file.to_owned(),
            settings,
        }
    }

    fn all(&self, key: &str) -> impl Iterator<Item = (&str, Place)> {
        let found = self.settings.iter().filter(move |(_, name, _, _)| name == key);
        found.map(|(_, _, value, line)| (&**value, self.place(*line)))
    }

    fn one(&self, key: &str) -> &str {
        let mut found = self.all(key);
        let (value, _) = found.next().unwrap_or_else(|| panic!("{}: no {key}", self.file));
        assert!(found.next().is_none(), "{}: {key} twice", self.file);
        value
    }

    fn place(&self, line: usize) -> Place {
        let file = self.file.clone();
        Place { file, line }
    }

    /// What ExecStart calls, with the variables of the unit and then those of its file of settings.
    pub fn invocation(&self) -> Invocation {
        let (call, place) = self.all("ExecStart").next().expect("a service has an ExecStart");
        let mut words = call.split_whitespace().map(|word| Word {
            text: word.to_owned(),
            place: place.clone(),
        });
        let program = words.next().expect("a program");
        assert_eq!(program.text, "/usr/bin/vulcan", "{place}");
        let words = words.collect();
        let own = self.all("Environment").map(|(pair, place)| assignment(pair, place));
        let mut variables: Vec<(Word, String)> = own.collect();
        for (path, place) in self.all("EnvironmentFile") {
            let name = path.strip_prefix(ETC).unwrap_or_else(|| panic!("{place}: {path}"));
            let file = format!("deploy/systemd/{name}");
            variables.extend(variables_of(&file, &read(&file)));
        }
        Invocation {
            name: self.name.clone(),
            place,
            words,
            variables,
        }
    }

    /// The credentials, `(ID, file)`.
    pub fn credentials(&self) -> Vec<(&str, &str)> {
        let loaded = self.all("LoadCredential");
        loaded
            .map(|(value, place)| value.split_once(':').unwrap_or_else(|| panic!("{place}: {value}")))
            .collect()
    }

    /// Where the parts of the unit do not agree with each other, or with what the binary does.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                complaints.push(format!("{}: {what}", self.file));
            }
        };
        let invocation = self.invocation();
        expect(
            self.one("Type") == "exec",
            "the binary notifies nobody: Type=exec".into(),
        );
        // Status 2 is a wrong or missing setting.
        expect(
            self.one("Restart") == "on-failure" && self.one("RestartPreventExitStatus") == "2",
            "status 2 is not to be tried again, all else is".into(),
        );
        let stop = Duration::from_secs(self.one("TimeoutStopSec").parse().expect("seconds"));
        let needed = drain_timeout(&invocation) + FINISH_WITHIN;
        expect(stop >= needed, format!("TimeoutStopSec is shorter than {needed:?}"));

        let loaded: BTreeSet<&str> = self.credentials().iter().map(|(id, _)| *id).collect();
        let used: BTreeSet<&str> = invocation
            .values()
            .filter_map(|value| value.strip_prefix("%d/"))
            .collect();
        expect(
            loaded == used,
            format!("credentials {loaded:?} are loaded, {used:?} are used"),
        );
        let state = format!("%S/{}", self.one("StateDirectory"));
        let work = self.one("WorkingDirectory");
        expect(work == state, format!("it works in {work}, and {state} is its own"));
        if let Some(data) = invocation.setting("data") {
            expect(data == state, format!("its data is in {data}, and {state} is its own"));
        }
        let low = ["http", "admin", "status"]
            .iter()
            .any(|flag| invocation.port(flag).is_some_and(|port| port < 1024));
        let may = self.one("CapabilityBoundingSet") == "CAP_NET_BIND_SERVICE";
        expect(
            low == may,
            "CAP_NET_BIND_SERVICE is for those who open a port below 1024".into(),
        );
        complaints
    }
}

/// Of a file of settings; the lines that are there to be uncommented do not count.
fn variables_of(file: &str, text: &str) -> Vec<(Word, String)> {
    let lines = text.lines().enumerate();
    let set = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    set.map(|(index, line)| {
        let place = Place {
            file: file.to_owned(),
            line: index + 1,
        };
        assignment(line, place)
    })
    .collect()
}

fn assignment(pair: &str, place: Place) -> (Word, String) {
    let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("{place}: {pair}"));
    let text = name.to_owned();
    (Word { text, place }, value.to_owned())
}

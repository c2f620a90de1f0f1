//! A call of the binary as a file writes it down, with the variables that it gives.

use std::fmt;
use std::net::SocketAddr;

/// A file of the project and a line of it.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: String,
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[derive(Clone, Debug)]
pub struct Word {
    pub text: String,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub struct Invocation {
    /// The service or the unit.
    pub name: String,
    pub place: Place,
    /// What follows `vulcan`, the command first.
    pub words: Vec<Word>,
    pub variables: Vec<(Word, String)>,
}

impl Invocation {
    pub fn command(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    pub fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// What a flag, else its variable, is set to. Of several variables of a name the last counts.
    pub fn setting(&self, flag: &str) -> Option<&str> {
        let (alone, with_value) = (format!("--{flag}"), format!("--{flag}="));
        let mut words = self.arguments().iter();
        while let Some(word) = words.next() {
            if word.text == alone {
                return words.next().map(|value| &*value.text);
            }
            if let Some(value) = word.text.strip_prefix(&with_value) {
                return Some(value);
            }
        }
        let variable = variable(flag);
        let given = self.variables.iter().rev().find(|(name, _)| name.text == variable);
        given.map(|(_, value)| &**value)
    }

    /// The port of a listener.
    pub fn port(&self, flag: &str) -> Option<u16> {
        let address: SocketAddr = self.setting(flag)?.parse().ok()?;
        Some(address.port())
    }

    /// Every value, of flags and of variables.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let words = self.arguments().iter().map(|word| &*word.text);
        words.chain(self.variables.iter().map(|(_, value)| &**value))
    }

    /// Each `(text, instead)` replaced wherever it stands.
    pub fn translated(&self, dictionary: &[(String, String)]) -> Invocation {
        let mut translated = self.clone();
        let words = translated.words.iter_mut().map(|word| &mut word.text);
        for text in words.chain(translated.variables.iter_mut().map(|(_, value)| value)) {
            for (there, here) in dictionary {
                *text = text.replace(there, here);
            }
        }
        translated
    }
}

/// Of a flag.
pub fn variable(flag: &str) -> String {
    format!("VULCAN_{}", flag.to_uppercase().replace('-', "_"))
}

//! What a limit demands of a text: a regular expression that is anchored at the start, and only there.

mod escapes;
mod form;
mod several;

use std::fmt;
use std::sync::Arc;

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};

pub use form::{Form, Literal};
pub use several::Several;

/// A regular expression (syntax of the `regex` crate) that some beginning of the text has to match: `/a` takes `/ab`
/// too, `/a$` takes `/a` alone, and whatever can match nothing at all takes everything.
///
/// No text that it is held against holds a line feed.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    case: Case,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Matters,
    /// For ASCII only, as are the texts.
    Ignored,
}

/// How much a pattern says, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// It names whole texts.
    Whole,
    /// It names how texts begin.
    Prefix,
    Regex,
    Any,
}

impl Pattern {
    const BYTES_MAX: usize = 4096;
    /// Compiled programs above it are refused; one limit must not cost the fleet its memory.
    const PROGRAM_BYTES_MAX: usize = 1 << 19;
    const ANY: &str = ".*";

    /// Takes everything.
    pub fn any(case: Case) -> Pattern {
        Pattern {
            source: Pattern::ANY.into(),
            case,
            form: Form::Any,
        }
    }

    /// The error says what is wrong with `text`.
    pub fn parse(text: &str, case: Case) -> Result<Pattern, String> {
        Pattern::compile(text, text, case)
    }

    /// For paths in the form in which they are compared: escapes are read in whatever spelling they are written.
    pub fn parse_path(text: &str) -> Result<Pattern, String> {
        Pattern::compile(text, &escapes::normalise(text), Case::Matters)
    }

    fn compile(source: &str, text: &str, case: Case) -> Result<Pattern, String> {
        if source.len() > Pattern::BYTES_MAX {
            return Err(format!("at most {} bytes are accepted", Pattern::BYTES_MAX));
        }
        Ok(Pattern {
            source: source.into(),
            case,
            form: Form::of(text, case)?,
        })
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }

    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Whether it is written in the way that stands for "anything" where nothing is given.
    pub fn is_default(&self) -> bool {
        &*self.source == Pattern::ANY
    }

    pub fn matches(&self, text: &str) -> bool {
        match &self.form {
            Form::Any => true,
            Form::Literals(literals) => literals.iter().any(|literal| literal.matches(text, self.case)),
            Form::Dotted { parts, is_whole } => form::begins_dotted(text, parts, *is_whole),
            Form::Regex { regex, .. } => regex.is_match(anchored(text)),
        }
    }

    pub fn precision(&self) -> Precision {
        match &self.form {
            Form::Any => Precision::Any,
            Form::Literals(literals) if literals.iter().all(|literal| literal.is_whole) => Precision::Whole,
            Form::Literals(_) => Precision::Prefix,
            Form::Dotted { .. } | Form::Regex { .. } => Precision::Regex,
        }
    }
}

fn anchored(text: &str) -> Input<'_> {
    Input::new(text).anchored(Anchored::Yes)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        (&self.source, self.case) == (&other.source, other.case)
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// One program in one place, however many limits share it.
type Program = Arc<Regex>;

#[cfg(test)]
mod tests;

//! What can be known of a pattern without running it: most name a text, or how a text begins.

use std::sync::Arc;

use regex_automata::meta::{self, Regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Dot, Hir, HirKind, Look};

use super::{Case, Pattern, Program};

#[derive(Clone, Debug)]
pub enum Form {
    /// Everything is taken.
    Any,
    /// A text is taken that is one of these, or begins so. No literal is taken by another one.
    Literals(Arc<[Literal]>),
    /// These follow one another, each two with one character between them: a name whose dots were not escaped.
    Dotted {
        parts: Arc<[Box<[u8]>]>,
        /// Nothing may follow the last.
        is_whole: bool,
    },
    /// The program has to run, on texts that begin in one of these ways; on all if there are none. No beginning begins
    /// with another one.
    Regex { regex: Program, begins: Arc<[Box<[u8]>]> },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Literal {
    pub text: Box<[u8]>,
    /// Nothing may follow it.
    pub is_whole: bool,
}

/// Ways to begin, or to be, of one pattern that are told apart; one with more of them is run instead.
const LITERALS_MAX: usize = 16;
const LITERAL_BYTES_MAX: usize = 256;
/// Characters of a class that count as so many ways.
const CLASS_MAX: usize = 4;
const NEST_MAX: u32 = 64;

impl Literal {
    pub fn matches(&self, text: &str, case: Case) -> bool {
        let Some(begin) = text.as_bytes().get(..self.text.len()) else {
            return false;
        };
        let fits = self.text.len() == text.len() || !self.is_whole;
        fits && match case {
            Case::Matters => *begin == *self.text,
            Case::Ignored => begin.eq_ignore_ascii_case(&self.text),
        }
    }

    fn takes(&self, other: &Literal) -> bool {
        match self.is_whole {
            true => self == other,
            false => other.text.starts_with(&self.text),
        }
    }
}

impl Form {
    pub(super) fn of(text: &str, case: Case) -> Result<Form, String> {
        // No text holds a line feed, which is all that these do not take.
        if matches!(text, "" | ".*" | "^.*" | ".*$" | "^.*$") {
            return Ok(Form::Any);
        }
        let hir = parse(text, case)?;
        // Where a case is ignored, the literals are found as if it were not; but flags inside the pattern may say so.
        let literals = match case {
            Case::Matters => literals(&hir),
            Case::Ignored if text.contains("(?") || !text.is_ascii() => None,
            Case::Ignored => literals(&parse(text, Case::Matters)?),
        };
        if let Some(literals) = literals {
            return Ok(Form::Literals(literals));
        }
        if let Some(dotted) = dotted(&hir).filter(|_| case == Case::Matters) {
            return Ok(dotted);
        }
        let regex = compile(&hir)?;
        let properties = hir.properties();
        let looks_nowhere = properties.look_set().iter().all(|look| look == Look::Start);
        if properties.minimum_len() == Some(0) && looks_nowhere {
            return Ok(Form::Any);
        }
        let begins = match case {
            Case::Matters => begins(&hir),
            Case::Ignored => Arc::default(),
        };
        Ok(Form::Regex {
            regex: Arc::new(regex),
            begins,
        })
    }
}

pub(super) fn parse(text: &str, case: Case) -> Result<Hir, String> {
    let mut parser = ParserBuilder::new()
        .case_insensitive(case == Case::Ignored)
        .nest_limit(NEST_MAX)
        .build();
    parser.parse(text).map_err(|error| error.to_string())
}

fn compile(hir: &Hir) -> Result<Regex, String> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(Pattern::PROGRAM_BYTES_MAX))
        .onepass_size_limit(Some(Pattern::PROGRAM_BYTES_MAX))
        .hybrid_cache_capacity(Pattern::PROGRAM_BYTES_MAX);
    let built = Regex::builder().configure(config).build_from_hir(hir);
    built.map_err(|error| match error.size_limit() {
        Some(limit) => format!("its compiled program is larger than {limit} bytes"),
        None => error.to_string(),
    })
}

fn extractor() -> Extractor {
    let mut extractor = Extractor::new();
    extractor
        .kind(ExtractKind::Prefix)
        .limit_class(CLASS_MAX)
        .limit_literal_len(LITERAL_BYTES_MAX)
        .limit_total(LITERALS_MAX);
    extractor
}

/// All the texts that the pattern takes, or how they begin, where these are few.
fn literals(hir: &Hir) -> Option<Arc<[Literal]>> {
    let (hir, is_whole) = without_ends(hir);
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let found = extractor().extract(&hir);
    let found = found
        .literals()
        .filter(|found| found.iter().all(|one| one.is_exact()))?;
    let literals = found.iter().map(|one| Literal {
        text: one.as_bytes().into(),
        is_whole,
    });
    let literals = reduced(literals.collect());
    // A pattern that an empty text begins takes everything.
    let is_some = |literal: &Literal| is_whole || !literal.text.is_empty();
    (!literals.is_empty() && literals.iter().all(is_some)).then(|| literals.into())
}

fn dotted(hir: &Hir) -> Option<Form> {
    let (hir, is_whole) = without_ends(hir);
    let HirKind::Concat(parts) = hir.kind() else {
        return None;
    };
    let dot = Hir::dot(Dot::AnyCharExceptLF);
    let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
    for part in parts {
        match (part.kind(), texts.last_mut()) {
            (HirKind::Literal(literal), Some(text)) => text.extend_from_slice(&literal.0),
            _ if *part == dot => texts.push(Vec::new()),
            _ => return None,
        }
    }
    Some(Form::Dotted {
        parts: texts.into_iter().map(Vec::into_boxed_slice).collect(),
        is_whole,
    })
}

/// How every text begins that the pattern takes; empty if that is not known.
fn begins(hir: &Hir) -> Arc<[Box<[u8]>]> {
    let found = extractor().extract(hir);
    let found = found.literals().unwrap_or_default().iter().map(|one| Literal {
        text: one.as_bytes().into(),
        is_whole: false,
    });
    let found = reduced(found.collect());
    match found.iter().any(|literal| literal.text.is_empty()) {
        true => Arc::default(),
        false => found.into_iter().map(|literal| literal.text).collect(),
    }
}

/// In order, and without those that another one takes as well.
fn reduced(mut literals: Vec<Literal>) -> Vec<Literal> {
    literals.sort();
    literals.dedup();
    let kept = |literal: &&Literal| !literals.iter().any(|other| other != *literal && other.takes(literal));
    literals.iter().filter(kept).cloned().collect()
}

/// Whether `text` begins with `parts`, each two with one character between them, or is that.
pub(super) fn begins_dotted(text: &str, parts: &[Box<[u8]>], is_whole: bool) -> bool {
    let mut rest = text;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            let mut chars = rest.chars();
            if chars.next().is_none() {
                return false;
            }
            rest = chars.as_str();
        }
        // A part is whole characters, as it is what stands between dots.
        match rest
            .as_bytes()
            .starts_with(part)
            .then(|| rest.get(part.len()..))
            .flatten()
        {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty() || !is_whole
}

/// Without a beginning that says what holds anyway, and without an end; and whether there was that end.
fn without_ends(hir: &Hir) -> (Hir, bool) {
    let parts = match hir.kind() {
        HirKind::Capture(capture) => return without_ends(&capture.sub),
        HirKind::Concat(parts) => &parts[..],
        _ => std::slice::from_ref(hir),
    };
    let is = |part: &Hir, look: Look| *part.kind() == HirKind::Look(look);
    let parts = match parts {
        [first, rest @ ..] if is(first, Look::Start) => rest,
        parts => parts,
    };
    match parts {
        [rest @ .., last] if is(last, Look::End) => (Hir::concat(rest.to_vec()), true),
        parts => (Hir::concat(parts.to_vec()), false),
    }
}

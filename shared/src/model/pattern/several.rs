//! Several patterns in one pass over a text.

use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{MatchKind, PatternSet};
use regex_syntax::hir::{Hir, Look};

use super::form::parse;
use super::{Pattern, anchored};

#[derive(Debug)]
pub struct Several {
    regex: Regex,
}

impl Several {
    /// None where they are too much together; each by itself is not.
    pub fn of<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Option<Several> {
        // An anchored search is not enough: where a text holds what the fast engines leave to the slow one, that one
        // begins anew at every character all the same.
        let anchored = |hir| Hir::concat(vec![Hir::look(Look::Start), hir]);
        let parsed = patterns.map(|pattern| parse(&pattern.source, pattern.case).ok().map(anchored));
        let parsed: Vec<Hir> = parsed.collect::<Option<_>>()?;
        let config = meta::Config::new()
            .match_kind(MatchKind::All)
            .which_captures(WhichCaptures::None);
        let regex = Regex::builder().configure(config).build_many_from_hir(&parsed).ok()?;
        Some(Several { regex })
    }

    /// Calls `visit` with the place of each that matches, in order.
    pub fn matching(&self, text: &str, visit: impl FnMut(usize)) {
        let mut found = PatternSet::new(self.regex.pattern_len());
        self.regex.which_overlapping_matches(&anchored(text), &mut found);
        found.iter().map(|pattern| pattern.as_usize()).for_each(visit);
    }
}

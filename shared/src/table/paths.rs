//! The path trie of one host: a node per segment, so that prefixes end at segment boundaries by construction.

use std::sync::Arc;

use super::conditions::Conditions;
use super::index::Index;
use super::query::Query;
use super::rule::{Best, Rule};

#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    here: Conditions,
    below: Index<Arc<Paths>>,
}

impl Paths {
    pub fn is_empty(&self) -> bool {
        self.here.is_empty() && self.below.is_empty()
    }

    /// `prefix` in compared form: empty, or a slash and segments.
    pub fn insert(&mut self, prefix: &str, rule: &Arc<Rule>) {
        let mut node = self;
        for segment in segments(prefix) {
            if node.below.get(segment).is_none() {
                node.below.insert(segment.into(), Arc::default());
            }
            match node.below.get_mut(segment) {
                Some(next) => node = Arc::make_mut(next),
                None => return,
            }
        }
        node.here.insert(rule);
    }

    pub fn remove(&mut self, prefix: &str, rule: &Rule) {
        self.remove_below(&mut segments(prefix), rule);
    }

    fn remove_below<'p>(&mut self, segments: &mut impl Iterator<Item = &'p str>, rule: &Rule) {
        let Some(segment) = segments.next() else {
            return self.here.remove(rule);
        };
        if let Some(next) = self.below.get_mut(segment) {
            let next = Arc::make_mut(next);
            next.remove_below(segments, rule);
            if next.is_empty() {
                self.below.remove(segment);
            }
        }
    }

    /// Offers what fits on the way down: a shorter prefix may win by its priority.
    pub fn find<'t>(&'t self, path: &str, query: &Query<'_>, best: &mut Best<'t>) {
        self.here.find(query, best);
        let mut node = self;
        for segment in segments(path) {
            let Some(next) = node.below.get(segment) else { return };
            next.here.find(query, best);
            node = next;
        }
    }
}

/// Of `/a/b`: `a`, `b`. Of what has no slash: none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').map(|rest| rest.split('/')).into_iter().flatten()
}

//! The rules of one path, found by the headers they ask for: a tree that tests one header per level.

use std::sync::Arc;

use super::index::Index;
use super::query::Query;
use super::rule::{Best, Rule};
use crate::model::HeaderCondition;

#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    /// Best first. With the headers that led here only priority and method tell them apart, so they are few.
    rules: Vec<Arc<Rule>>,
    tests: Vec<Test>,
}

/// Looks one header up: services that differ in its value, however many, cost one lookup.
#[derive(Clone, Debug)]
struct Test {
    name: Arc<str>,
    values: Index<Arc<Conditions>>,
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.tests.is_empty()
    }

    pub fn insert(&mut self, rule: &Arc<Rule>) {
        self.insert_below(&rule.matching().headers, rule);
    }

    fn insert_below(&mut self, headers: &[HeaderCondition], rule: &Arc<Rule>) {
        let Some((first, rest)) = headers.split_first() else {
            if let Err(at) = self.rules.binary_search(rule) {
                self.rules.insert(at, rule.clone());
            }
            return;
        };
        let at = self
            .tests
            .iter()
            .position(|test| test.name == first.name)
            .unwrap_or_else(|| {
                self.tests.push(Test {
                    name: first.name.clone(),
                    values: Index::default(),
                });
                self.tests.len() - 1
            });
        let values = &mut self.tests[at].values;
        match values.get_mut(&first.value) {
            Some(below) => Arc::make_mut(below).insert_below(rest, rule),
            None => {
                let mut below = Conditions::default();
                below.insert_below(rest, rule);
                values.insert(first.value.clone(), Arc::new(below));
            }
        }
    }

    pub fn remove(&mut self, rule: &Rule) {
        self.remove_below(&rule.matching().headers, rule);
    }

    fn remove_below(&mut self, headers: &[HeaderCondition], rule: &Rule) {
        let Some((first, rest)) = headers.split_first() else {
            self.rules.retain(|held| **held != *rule);
            return;
        };
        let Some(at) = self.tests.iter().position(|test| test.name == first.name) else {
            return;
        };
        let values = &mut self.tests[at].values;
        if let Some(below) = values.get_mut(&first.value) {
            let below = Arc::make_mut(below);
            below.remove_below(rest, rule);
            if below.is_empty() {
                values.remove(&first.value);
            }
        }
        if values.is_empty() {
            self.tests.remove(at);
        }
    }

    /// Offers every rule that could win among those whose headers and method fit.
    pub fn find<'t>(&'t self, query: &Query<'_>, best: &mut Best<'t>) {
        if let Some(rule) = self.rules.iter().find(|rule| rule.accepts_method(query)) {
            best.offer(rule);
        }
        for test in &self.tests {
            let below = query
                .headers
                .header(&test.name)
                .and_then(|value| test.values.get(value));
            if let Some(below) = below {
                below.find(query, best);
            }
        }
    }
}

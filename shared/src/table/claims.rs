//! Which service holds which match, so that two that nothing but their names could tell apart are never both in.

use std::sync::Arc;

use super::hosts::hosts_of;
use super::index::HashMap;
use super::rule::Rule;
use crate::model::{HeaderCondition, HostPattern, Match, Method, PathPattern, ServiceName};

/// What two matches of different services must not have in common, unless their methods differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Claim {
    host: HostPattern,
    /// A regex by its source, a prefix in compared form.
    path: (bool, Arc<str>),
    headers: Vec<HeaderCondition>,
    priority: i16,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Claims(HashMap<Arc<Claim>, Arc<[Arc<Rule>]>>);

impl Claims {
    /// Another service that holds a match which `rule` would share with it.
    pub fn conflict<'a>(&'a self, rule: &'a Rule) -> Option<&'a ServiceName> {
        self.conflicts(rule).next()
    }

    /// Every such service, some of them more than once.
    pub fn conflicts<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a ServiceName> {
        let held = claims_of(rule).filter_map(|claim| self.0.get(&claim));
        let others = held.flat_map(|held| held.iter().filter(|other| other.service() != rule.service()));
        let shared = others.filter(|other| overlap(&other.matching().methods, &rule.matching().methods));
        shared.map(|other| other.service())
    }

    pub fn insert(&mut self, rule: &Arc<Rule>) {
        for claim in claims_of(rule) {
            let held = self.0.get(&claim).map_or(&[][..], |held| held);
            let held = held.iter().chain([rule]).cloned().collect();
            self.0.insert(Arc::new(claim), held);
        }
    }

    pub fn remove(&mut self, rule: &Rule) {
        for claim in claims_of(rule) {
            let Some(held) = self.0.get(&claim) else { continue };
            let rest: Arc<[Arc<Rule>]> = held.iter().filter(|held| ***held != *rule).cloned().collect();
            match rest.is_empty() {
                true => self.0.remove(&claim),
                false => self.0.insert(Arc::new(claim), rest),
            };
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn claims_of(rule: &Rule) -> impl Iterator<Item = Claim> {
    hosts_of(rule).iter().map(|host| {
        let Match {
            path,
            headers,
            priority,
            ..
        } = rule.matching();
        let path = match path {
            PathPattern::Any => (false, Arc::from("")),
            PathPattern::Prefix(prefix) => (false, prefix.compared().clone()),
            PathPattern::Regex(regex) => (true, Arc::from(regex.as_str())),
        };
        Claim {
            host: host.clone(),
            path,
            headers: headers.clone(),
            priority: *priority,
        }
    })
}

/// Named methods win before any: only like against like leaves a method to both.
fn overlap(left: &[Method], right: &[Method]) -> bool {
    match (left, right) {
        ([], []) => true,
        _ => left.iter().any(|method| right.contains(method)),
    }
}

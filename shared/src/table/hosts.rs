//! All rules by host, and the order in which hosts are asked: exact, the longest wildcard first, any.

use std::sync::Arc;

use imbl::OrdSet;

use super::index::HashMap;
use super::paths::Paths;
use super::query::Query;
use super::rule::{Best, Rule};
use crate::model::host::HOST_BYTES_MAX;
use crate::model::{HostPattern, PathPattern};

#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Arc<str>, Arc<HostRules>>,
    /// By what follows `*.`
    wildcard: HashMap<Arc<str>, Arc<HostRules>>,
    any: HostRules,
}

#[derive(Clone, Debug, Default)]
struct HostRules {
    paths: Paths,
    /// Best first.
    regexes: OrdSet<Arc<Rule>>,
}

const ANY_HOST: &[HostPattern] = &[HostPattern::Any];

/// The hosts that a rule stands under.
pub(super) fn hosts_of(rule: &Rule) -> &[HostPattern] {
    match rule.matching().hosts.as_slice() {
        [] => ANY_HOST,
        hosts => hosts,
    }
}

impl Hosts {
    pub fn insert(&mut self, rule: &Arc<Rule>) {
        for host in hosts_of(rule) {
            match host {
                HostPattern::Any => self.any.insert(rule),
                HostPattern::Exact(name) => insert(&mut self.exact, name, rule),
                HostPattern::Wildcard(suffix) => insert(&mut self.wildcard, suffix, rule),
            }
        }
    }

    pub fn remove(&mut self, rule: &Rule) {
        for host in hosts_of(rule) {
            match host {
                HostPattern::Any => self.any.remove(rule),
                HostPattern::Exact(name) => remove(&mut self.exact, name, rule),
                HostPattern::Wildcard(suffix) => remove(&mut self.wildcard, suffix, rule),
            }
        }
    }

    /// `host` and `path` in canonical form. A host whose rules all fail is as if it had none.
    pub fn find(&self, host: &str, path: &str, query: &Query<'_>) -> Option<&Rule> {
        let named = if host.len() <= HOST_BYTES_MAX {
            self.find_named(host, path, query)
        } else {
            None
        };
        named.or_else(|| self.any.find(path, query))
    }

    fn find_named(&self, host: &str, path: &str, query: &Query<'_>) -> Option<&Rule> {
        if let Some(found) = self.exact.get(host).and_then(|rules| rules.find(path, query)) {
            return Some(found);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        let suffixes = host
            .match_indices('.')
            .filter(|(at, _)| *at > 0)
            .map(|(at, _)| &host[at + 1..]);
        let mut rules = suffixes.filter_map(|suffix| self.wildcard.get(suffix));
        rules.find_map(|rules| rules.find(path, query))
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_empty()
    }
}

fn insert(hosts: &mut HashMap<Arc<str>, Arc<HostRules>>, name: &Arc<str>, rule: &Arc<Rule>) {
    match hosts.get_mut(&**name) {
        Some(rules) => Arc::make_mut(rules).insert(rule),
        None => {
            let mut rules = HostRules::default();
            rules.insert(rule);
            hosts.insert(name.clone(), Arc::new(rules));
        }
    }
}

fn remove(hosts: &mut HashMap<Arc<str>, Arc<HostRules>>, name: &Arc<str>, rule: &Rule) {
    let Some(rules) = hosts.get_mut(&**name) else { return };
    let rules = Arc::make_mut(rules);
    rules.remove(rule);
    if rules.is_empty() {
        hosts.remove(&**name);
    }
}

impl HostRules {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.regexes.is_empty()
    }

    fn insert(&mut self, rule: &Arc<Rule>) {
        match &rule.matching().path {
            PathPattern::Any => self.paths.insert("", rule),
            PathPattern::Prefix(prefix) => self.paths.insert(prefix.compared(), rule),
            PathPattern::Regex(_) => {
                self.regexes.insert(rule.clone());
            }
        }
    }

    fn remove(&mut self, rule: &Rule) {
        match &rule.matching().path {
            PathPattern::Any => self.paths.remove("", rule),
            PathPattern::Prefix(prefix) => self.paths.remove(prefix.compared(), rule),
            PathPattern::Regex(_) => {
                self.regexes.remove(rule);
            }
        }
    }

    fn find(&self, path: &str, query: &Query<'_>) -> Option<&Rule> {
        let mut best = Best::default();
        self.paths.find(path, query, &mut best);
        // Regexes cost most: only those that could still win are tried.
        for rule in self.regexes.iter().take_while(|rule| best.would_take(rule)) {
            let PathPattern::Regex(regex) = &rule.matching().path else {
                continue;
            };
            if rule.accepts_method(query) && rule.accepts_headers(query) && regex.matches(path) {
                best.offer(rule);
                break;
            }
        }
        best.rule()
    }
}

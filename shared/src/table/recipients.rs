//! Who takes mail for whom. A pattern is one service's, so that no order among services is needed.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::Table;
use super::entry::{Entry, Slot};
use super::index::HashMap;
use crate::model::recipient::Canonical;
use crate::model::{AuthorizerName, Match, RecipientPattern, Service, ServiceName};

#[derive(Clone, Debug, Default)]
pub(super) struct Recipients {
    patterns: HashMap<RecipientPattern, Slot>,
    /// The services that take mail, by their authorizer.
    guarded: OrdMap<AuthorizerName, OrdMap<ServiceName, Slot>>,
    /// Their `max_body`.
    sizes: OrdSet<(u64, ServiceName)>,
}

impl Recipients {
    pub fn insert(&mut self, service: &Service, slot: Slot) {
        for (_, pattern) in patterns_of(service) {
            self.patterns.insert(pattern.clone(), slot);
        }
        if !takes_mail(service) {
            return;
        }
        self.sizes.insert((service.max_body, service.name.clone()));
        if let Some(authorizer) = &service.authorizer {
            let services = self.guarded.entry(authorizer.clone()).or_default();
            services.insert(service.name.clone(), slot);
        }
    }

    pub fn remove(&mut self, service: &Service) {
        for (_, pattern) in patterns_of(service) {
            self.patterns.remove(pattern);
        }
        self.sizes.remove(&(service.max_body, service.name.clone()));
        let Some(authorizer) = &service.authorizer else { return };
        if let Some(services) = self.guarded.get_mut(authorizer) {
            services.remove(&service.name);
            if services.is_empty() {
                self.guarded.remove(authorizer);
            }
        }
    }

    /// Where another service stands that has one of `service`'s patterns, and the place of that: `match[0].recipients[1]`.
    pub fn conflict(&self, service: &Service, slot: Slot) -> Option<(Slot, String)> {
        let mut conflicts = self.conflicts(service, slot);
        conflicts
            .next()
            .map(|(held, (of, at))| (held, format!("match[{of}].recipients[{at}]")))
    }

    /// Every one, with the place of the pattern: of the match, and in it.
    pub fn conflicts(&self, service: &Service, slot: Slot) -> impl Iterator<Item = (Slot, (usize, usize))> {
        patterns_of(service).filter_map(move |(place, pattern)| {
            let held = *self.patterns.get(pattern)?;
            (held != slot).then_some((held, place))
        })
    }

    /// Address before domain before the longest `*.domain` before `*`.
    fn find(&self, recipient: &str) -> Option<Slot> {
        use RecipientPattern::{Address, Any, Domain, Subdomains};
        let of = Canonical::of(recipient);
        let at = |pattern: RecipientPattern| self.patterns.get(&pattern).copied();
        let below = || {
            let dots = of.domain().match_indices('.').filter(|(dot, _)| *dot > 0);
            let mut suffixes = dots.map(|(dot, _)| &of.domain()[dot + 1..]);
            suffixes.find_map(|suffix| at(Subdomains(suffix.into())))
        };
        let named = of.local().and_then(|_| {
            at(Address(of.as_str().into()))
                .or_else(|| at(Domain(of.domain().into())))
                .or_else(below)
        });
        named.or_else(|| at(Any))
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.guarded.is_empty() && self.sizes.is_empty()
    }
}

fn takes_mail(service: &Service) -> bool {
    service.matches.iter().any(Match::is_for_mail)
}

/// Each with its place: of the match, and in it.
fn patterns_of(service: &Service) -> impl Iterator<Item = ((usize, usize), &RecipientPattern)> {
    let matches = service.matches.iter().enumerate();
    matches.flat_map(|(of, matching)| {
        let patterns = matching.recipients.iter().enumerate();
        patterns.map(move |(at, pattern)| ((of, at), pattern))
    })
}

impl Table {
    /// The service that takes mail for `recipient`, an address as sent without angle brackets. The cost grows with the
    /// labels of the domain, not with the number of services.
    pub fn route_mail(&self, recipient: &str) -> Option<&Arc<Entry>> {
        self.services.at(self.recipients.find(recipient)?)
    }

    /// The services whose authorizer says who may send mail before it is known to whom: the one that `"*"` goes to, if it
    /// has an authorizer; else those that have one, if it is the same for all; else none.
    pub fn submission(&self) -> impl Iterator<Item = &Arc<Entry>> {
        let any = self.recipients.patterns.get(&RecipientPattern::Any).copied();
        let any = any.filter(|slot| {
            self.services
                .at(*slot)
                .is_some_and(|entry| entry.service.authorizer.is_some())
        });
        let mut all = self.recipients.guarded.values();
        let same = match (all.next(), all.next()) {
            (Some(same), None) if any.is_none() => Some(same),
            _ => None,
        };
        let slots = any
            .into_iter()
            .chain(same.into_iter().flat_map(|services| services.values().copied()));
        slots.filter_map(|slot| self.services.at(slot))
    }

    /// Whether there is a service that takes mail, and of all of them the most bytes.
    pub fn mail_bytes_max(&self) -> Option<u64> {
        self.recipients.sizes.get_max().map(|(bytes, _)| *bytes)
    }
}

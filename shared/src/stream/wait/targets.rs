//! What a wait looks for in a level, found in O(1): one write may retire or register very many upstreams.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Condition, Target};
use crate::change::{Kind, ObjectKey, Revision};
use crate::stream::message::{Draining, Level};

/// The targets of a wait, found in O(1): deleting a service retires all its upstreams at once.
#[derive(Debug, Default)]
pub(super) struct Targets {
    upstreams: HashMap<Arc<str>, HashMap<Arc<str>, Revision>>,
    services: HashMap<Arc<str>, Revision>,
    addresses: HashMap<Arc<str>, Revision>,
    any: Option<Revision>,
}

impl Targets {
    pub fn of(condition: &Condition) -> Targets {
        let mut targets = Targets::default();
        let list = match condition {
            Condition::Drained(list) | Condition::Settled { drained: list, .. } => list,
            Condition::HandedOver { service, id, before } => {
                targets.add(service, id, *before);
                return targets;
            }
            _ => return targets,
        };
        for target in list {
            match target {
                Target::Upstream { service, id, before } => targets.add(service, id, *before),
                Target::Service { service, before } => {
                    let held = targets.services.entry(service.clone()).or_default();
                    *held = (*held).max(*before);
                }
                Target::Address { address, before } => {
                    let held = targets.addresses.entry(address.clone()).or_default();
                    *held = (*held).max(*before);
                }
                Target::Any { before } => targets.any = targets.any.max(Some(*before)),
            }
        }
        targets
    }

    fn add(&mut self, service: &Arc<str>, id: &Arc<str>, before: Revision) {
        let ids = self.upstreams.entry(service.clone()).or_default();
        let held = ids.entry(id.clone()).or_default();
        *held = (*held).max(before);
    }

    pub fn name(&self, service: &Arc<str>, id: &Arc<str>) -> bool {
        self.any.is_some() || self.upstreams.get(service).is_some_and(|ids| ids.contains_key(id))
    }

    pub fn hold(&self, draining: &Draining) -> bool {
        let by_name = self
            .upstreams
            .get(&draining.service)
            .and_then(|ids| ids.get(&draining.id));
        let by_service = self.services.get(&draining.service);
        let by_address = self.addresses.get(&draining.address);
        by_name
            .into_iter()
            .chain(by_service)
            .chain(by_address)
            .chain(&self.any)
            .any(|before| draining.registration < *before)
    }
}

/// Upstreams that have to be well, by service.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Arc<str>, HashSet<Arc<str>>>);

impl Names {
    pub fn of(condition: &Condition) -> Names {
        let mut names = Names::default();
        if let Condition::Settled { healthy, .. } = condition {
            for (service, id) in healthy {
                names.0.entry(service.clone()).or_default().insert(id.clone());
            }
        }
        names
    }

    fn hold(&self, service: &str, id: &str) -> bool {
        self.0.get(service).is_some_and(|ids| ids.contains(id))
    }

    /// Whether one of them has not passed its check yet. One that is left out of the list may be.
    pub fn warm(&self, level: &Level) -> bool {
        let warming = level.warming.iter().any(|w| self.hold(&w.service, &w.id));
        warming || level.warming_more > 0 && !self.0.is_empty()
    }

    /// `service/id` of each that is not well, and the outcome of its last check.
    pub fn unwell<'a>(&'a self, level: &'a Level) -> impl Iterator<Item = (String, &'a str)> {
        let listed = level.warming.iter().filter(|w| self.hold(&w.service, &w.id));
        listed.map(|w| (format!("{}/{}", w.service, w.id), &*w.last))
    }
}

/// Whether an object, as `ObjectKey` prints it, is one of `keys`, which are in order.
pub(super) fn is_among(keys: &[ObjectKey], object: &str) -> bool {
    let Some((kind, rest)) = object.split_once('/') else {
        return false;
    };
    let kind = Kind::from(kind);
    keys.binary_search_by(|key| key.kind.cmp(&kind).then_with(|| (*key.key).cmp(rest)))
        .is_ok()
}

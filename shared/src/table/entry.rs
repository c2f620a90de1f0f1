//! What the table holds of a service.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use super::index::HashMap;
use crate::change::Revision;
use crate::model::{Service, ServiceName, Upstream, UpstreamId};

/// A service and the upstreams registered with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub service: Arc<Service>,
    /// Of the service's last accepted change.
    pub revision: Revision,
    pub upstreams: OrdMap<UpstreamId, Arc<Registered>>,
}

/// An upstream as it stands. A new registration is a new identity to whoever drains or counts.
#[derive(Clone, Debug)]
pub struct Registered {
    pub upstream: Upstream,
    /// Of its last accepted change.
    pub revision: Revision,
    /// The revision that began this registration.
    pub registration: Revision,
    /// The first of the registrations that took one another's place up to this one while they were in use, as far as
    /// this table has seen it. Whoever served for one of these may go on for this one; what was deleted, or told to
    /// drain, was ended, though its name came back.
    pub unbroken_since: Revision,
}

/// How a table came to it makes no difference.
impl PartialEq for Registered {
    fn eq(&self, other: &Registered) -> bool {
        let stands = |one: &Registered| (one.revision, one.registration);
        self.upstream == other.upstream && stands(self) == stands(other)
    }
}

impl Eq for Registered {}

/// Where an entry stands. A rule that wins finds its entry by it: the rules of a service stay as they are when its
/// upstreams change, and a number is found in fewer steps than a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    names: HashMap<ServiceName, Slot>,
    slots: Vector<Option<Arc<Entry>>>,
    /// Slots without an entry, taken before new ones.
    free: Vector<Slot>,
}

impl Entries {
    pub fn at(&self, slot: Slot) -> Option<&Arc<Entry>> {
        self.slots.get(slot.0)?.as_ref()
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.at(*self.names.get(name)?)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Arc<Entry>> {
        let slot = *self.names.get(name)?;
        self.slots.get_mut(slot.0)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.slots.iter().flatten()
    }

    /// Where a service stands, or would stand if it were put next.
    pub fn slot(&self, name: &str) -> Slot {
        let held = self.names.get(name).or_else(|| self.free.last());
        held.copied().unwrap_or(Slot(self.slots.len()))
    }

    pub fn put(&mut self, entry: Entry) {
        let slot = self.slot(entry.service.name.as_str());
        let before = self.names.insert(entry.service.name.clone(), slot);
        let entry = Some(Arc::new(entry));
        if slot.0 == self.slots.len() {
            self.slots.push_back(entry);
            return;
        }
        if before.is_none() {
            self.free.pop_back();
        }
        self.slots.set(slot.0, entry);
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<Entry>> {
        let slot = self.names.remove(name)?;
        self.free.push_back(slot);
        self.slots.set(slot.0, None)
    }
}

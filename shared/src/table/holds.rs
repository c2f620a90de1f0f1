//! Which services are held. A hold is of a name: it is there also while its service is not, so that the order in which the
//! two come means nothing.

use super::apply::{Edit, Step};
use super::index::HashMap;
use super::{Cause, Table};
use crate::change::Revision;
use crate::model::{Hold, Invalid, ServiceName};

pub(super) type Holds = HashMap<ServiceName, Held>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub hold: Hold,
    /// That began it: another one is another hold, whose time begins anew.
    pub revision: Revision,
}

impl Table {
    pub fn held(&self, service: &ServiceName) -> Option<Held> {
        self.holds.get(service).copied()
    }

    /// In no particular order.
    pub fn all_held(&self) -> impl Iterator<Item = (&ServiceName, Held)> {
        self.holds.iter().map(|(name, held)| (name, *held))
    }
}

impl Edit {
    pub fn hold(&mut self, step: Step<'_>) {
        self.accept(&step.object);
        let name = ServiceName::try_from(&*step.object.key).map_err(|rule| Invalid::field("service", rule));
        let Some(put) = step.put else {
            if let Ok(name) = name
                && self.table.holds.remove(&name).is_some()
            {
                self.touch(&name);
            }
            return;
        };
        match name.and_then(|name| Ok((name, Hold::parse(put.body.as_str())?))) {
            Ok((name, hold)) => {
                let revision = step.revision;
                self.table.holds.insert(name.clone(), Held { hold, revision });
                self.touch(&name);
            }
            Err(invalid) => self.refuse(step.object, step.revision, Cause::Invalid(invalid)),
        }
    }
}

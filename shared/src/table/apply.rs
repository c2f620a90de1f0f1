//! Folding operations into a table: what an operation means, and what becomes of one that cannot be applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Cause, Refusal, Registered, Table};
use crate::change::{Body, Kind, ObjectKey, Op, Revision, Verb};
use crate::model::{Service, ServiceName, Upstream};
use crate::state::State;

/// What applying operations led to. The table before it is untouched.
#[derive(Clone, Debug)]
pub struct Applied {
    pub table: Table,
    /// What came to stand refused by these operations.
    pub refused: Vec<Refusal>,
    /// Services whose entry or hold is another than before, or gone; each once, ordered.
    pub touched: Vec<ServiceName>,
}

impl Table {
    /// The table of a whole state, with everything in it that was refused. Of two services that conflict, the one whose
    /// name stands first is in.
    pub fn of(state: &State) -> (Table, Vec<Refusal>) {
        let steps = state.objects.iter().map(|(key, object)| Step {
            object: key.clone(),
            revision: object.revision,
            put: Some(Put {
                body: &object.body,
                registration: object.registration.unwrap_or(object.revision),
            }),
        });
        let applied = Table::default().fold(steps);
        (applied.table, applied.refused)
    }

    /// Folds in the operations of one revision, all at once and in O(change): their order within it means nothing.
    /// Operations of the roster are none of the table's business.
    ///
    /// What is refused keeps its last good form. An upstream without a service is refused, too, but kept: it comes to
    /// life with its service, as it would in a table made of the whole state.
    pub fn apply(&self, ops: &[Op], revision: Revision) -> Applied {
        let steps = ops.iter().map(|op| Step {
            object: op.object(),
            revision,
            put: match op.verb {
                Verb::Put => op.body.as_ref(),
                Verb::Delete => None,
            }
            .map(|body| Put {
                body,
                registration: op.registered(revision),
            }),
        });
        self.fold(steps)
    }

    fn fold<'a>(&self, steps: impl Iterator<Item = Step<'a>> + Clone) -> Applied {
        let mut edit = Edit {
            table: self.clone(),
            refused: BTreeSet::new(),
            touched: Vec::new(),
        };
        let mut services = Vec::new();
        for step in steps.clone() {
            match step.object.kind {
                Kind::Service => services.extend(edit.service(step)),
                Kind::Unknown(_) => edit.unknown(step),
                Kind::Authorizer => edit.authorizer(step),
                Kind::Limit => edit.limit(step),
                Kind::Hold => edit.hold(step),
                Kind::Upstream | Kind::Revocation | Kind::Member | Kind::Succession => {}
            }
        }
        edit.settle(services);
        for step in steps {
            match step.object.kind {
                Kind::Upstream => edit.upstream(step),
                Kind::Revocation => edit.revocation(step),
                _ => {}
            }
        }
        edit.finish()
    }
}

/// One operation, or one object of a state.
pub(super) struct Step<'a> {
    pub object: ObjectKey,
    pub revision: Revision,
    /// None deletes it.
    pub put: Option<Put<'a>>,
}

pub(super) struct Put<'a> {
    pub body: &'a Body,
    registration: Revision,
}

/// A table on its way to the next one.
pub(super) struct Edit {
    pub table: Table,
    /// Objects that were refused on the way; their refusals are in the table.
    refused: BTreeSet<ObjectKey>,
    /// Unordered, some more than once.
    touched: Vec<ServiceName>,
}

/// A service that is valid by itself; whether it conflicts shows when all of its revision are known.
pub(super) struct Candidate {
    pub service: Arc<Service>,
    pub revision: Revision,
}

impl Edit {
    /// Deletes at once; what is put is tried when all deletions are done.
    fn service(&mut self, step: Step<'_>) -> Option<Candidate> {
        self.accept(&step.object);
        let Some(put) = step.put else {
            self.delete_service(&step.object.key);
            return None;
        };
        match Service::parse(&step.object.key, put.body.as_str()) {
            Ok(service) => Some(Candidate {
                service: service.into(),
                revision: step.revision,
            }),
            Err(invalid) => {
                self.refuse(step.object, step.revision, Cause::Invalid(invalid));
                None
            }
        }
    }

    fn upstream(&mut self, step: Step<'_>) {
        self.accept(&step.object);
        let (service, id) = step.object.key.split_once('/').unwrap_or((&step.object.key, ""));
        let Some(put) = step.put else {
            self.delete_upstream(service, id);
            return;
        };
        match Upstream::parse(service, id, put.body.as_str()) {
            Ok(upstream) => {
                let (revision, registration) = (step.revision, put.registration);
                self.put_upstream(Registered {
                    upstream,
                    revision,
                    registration,
                    unbroken_since: registration,
                });
            }
            Err(invalid) => self.refuse(step.object, step.revision, Cause::Invalid(invalid)),
        }
    }

    fn unknown(&mut self, step: Step<'_>) {
        match step.put {
            Some(_) => self.refuse(step.object, step.revision, Cause::UnknownKind),
            None => self.accept(&step.object),
        }
    }

    /// Nothing stands against this object any more, so far.
    pub fn accept(&mut self, object: &ObjectKey) {
        self.table.refused.remove(object);
        self.refused.remove(object);
    }

    pub fn refuse(&mut self, object: ObjectKey, revision: Revision, cause: Cause) {
        self.refused.insert(object.clone());
        self.table.refused.insert(
            object.clone(),
            Refusal {
                object,
                revision,
                cause,
            },
        );
    }

    pub fn touch(&mut self, service: &ServiceName) {
        // A whole state names a service for each of its upstreams, one after another.
        if self.touched.last() != Some(service) {
            self.touched.push(service.clone());
        }
    }

    fn finish(mut self) -> Applied {
        self.touched.sort();
        self.touched.dedup();
        let refused = self
            .refused
            .iter()
            .filter_map(|object| self.table.refused.get(object).cloned())
            .collect();
        Applied {
            refused,
            touched: self.touched,
            table: self.table,
        }
    }
}

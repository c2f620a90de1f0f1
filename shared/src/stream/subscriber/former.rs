//! What a proxy brought along from the history that it followed before this one.
//!
//! A registration is named by the revision that began it. One of another history may bear any number, also one that this
//! history has not come to yet: compared with the revision of a write here it would pass for younger, and the write would
//! be told that nothing is in flight while it is. So whatever drains once the proxy has come over is said to be
//! registered at 0, before all that anybody can write here. That is so for good, through further changes of the epoch;
//! a restart ends what it is about.
//!
//! What is in both tables, alike down to the number of its registration, is no part of it: it goes on as a registration
//! of this history, with its connections, and whoever retires it from here on waits for it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::change::Revision;
use crate::stream::message::Draining;

#[derive(Debug, Default)]
pub(super) struct Former {
    coming_over: bool,
    /// By their true numbers.
    draining: HashSet<Name>,
}

type Name = (Arc<str>, Arc<str>, Arc<str>, Revision);

fn name(draining: &Draining) -> Name {
    let Draining {
        service, id, address, ..
    } = draining;
    (service.clone(), id.clone(), address.clone(), draining.registration)
}

impl Former {
    /// The table that is swapped in next is the first of another history.
    pub(super) fn come_over(&mut self) {
        self.coming_over = true;
    }

    /// What a swap left out is retired, and this is all that drains since. If the new history registered any of it, it is
    /// over there as well, so that to call it older costs a write that still waits no more than the rest of a drain.
    pub(super) fn retired(&mut self, draining: &[Draining]) {
        if std::mem::take(&mut self.coming_over) {
            self.draining = draining.iter().map(name).collect();
        }
    }

    /// As it is said to the control plane. What no longer drains never will again.
    pub(super) fn told(&mut self, mut draining: Vec<Draining>) -> Vec<Draining> {
        if self.draining.is_empty() {
            return draining;
        }
        let mut left = HashSet::new();
        for one in &mut draining {
            let name = name(one);
            if self.draining.contains(&name) {
                one.registration = Revision::ZERO;
                left.insert(name);
            }
        }
        self.draining = left;
        draining
    }
}

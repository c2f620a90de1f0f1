//! What a proxy knows of a service's upstreams together. It outlives every swap that leaves the service in the table.

use super::budget::Budget;

pub struct Care {
    budget: Budget,
}

impl Care {
    pub(crate) fn new(workers: usize) -> Care {
        Care {
            budget: Budget::new(workers),
        }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

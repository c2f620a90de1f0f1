//! What the owners of limits and the proxies that spend their tokens count by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::InForce;
use crate::change::Revision;
use crate::model::Mode;
use crate::quota::{Concurrent, Rule, Rules};
use crate::table::Table;

impl Table {
    /// The rules of all limits, as of the table's `revision`. It costs as much as there are limits: see
    /// [`Table::has_limits_of`].
    pub fn rules(&self, revision: Revision) -> Rules {
        let of_mode = |mode| {
            let limits = self.limits.by_id.values().filter(move |of| of.limit.mode == mode);
            limits.map(|of| (of.limit.id.0, of.rule())).collect()
        };
        Rules {
            revision,
            rules: of_mode(Mode::Enforce),
            observed: of_mode(Mode::Observe),
            concurrent: self.concurrent(),
        }
    }

    fn concurrent(&self) -> BTreeMap<Uuid, Concurrent> {
        let concurrent = |of: &Arc<InForce>| {
            let limit = &of.limit;
            let concurrent = Concurrent {
                most: limit.concurrent?,
                revision: of.revision,
                on_unreachable: limit.on_unreachable,
            };
            Some((limit.id.0, concurrent))
        };
        self.limits.by_id.values().filter_map(concurrent).collect()
    }

    /// Whether both came from one table and no limit was changed on the way to either: then they have the same rules. Tables
    /// that were made apart have not, whatever is in them.
    pub fn has_limits_of(&self, other: &Table) -> bool {
        self.limits.by_id.ptr_eq(&other.limits.by_id)
    }

    /// Whether there is any limit, enforced or not.
    pub fn has_limits(&self) -> bool {
        !self.limits.by_id.is_empty()
    }
}

impl InForce {
    pub fn rule(&self) -> Rule {
        Rule {
            limit: self.limit.id.0,
            revision: self.revision,
            algorithm: self.limit.algorithm,
            period: Duration::from_secs(self.limit.period.into()),
            threshold: self.limit.threshold,
            on_unreachable: self.limit.on_unreachable,
        }
    }
}

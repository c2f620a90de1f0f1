//! In which order upstreams are taken, by how they stand.

use std::sync::Arc;
use std::time::Instant;

use shared::model::Service;

use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::{Doubt, Standing};

/// The best first. A request is given one of a worse tier only while there is nobody in a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Usual,
    Warming,
    /// It takes connections, and may answer.
    Ejected,
    /// It may take a connection. Where everybody is left alone for it, all that is known is of a moment ago: asking costs
    /// less than refusing what could be served.
    Paused,
}

/// In order.
pub(super) const TIERS: [Tier; 4] = [Tier::Usual, Tier::Warming, Tier::Ejected, Tier::Paused];

impl Tier {
    /// None for who gets nothing at all. Whoever is in doubt is probed, since a request of this service came by.
    pub fn of(endpoint: &Arc<Endpoint>, service: &Service, now: impl Fn() -> Instant) -> Option<Tier> {
        let standing = endpoint.health().standing(now);
        if let Standing::Doubted(_) = standing {
            endpoint.care().probes().call_for(endpoint, &service.timeouts);
        }
        Some(match standing {
            Standing::Up => Tier::Usual,
            Standing::Warming => Tier::Warming,
            Standing::Ejected | Standing::Doubted(Doubt::Answers | Doubt::Completes) => Tier::Ejected,
            Standing::Paused | Standing::Doubted(Doubt::Connects) => Tier::Paused,
            Standing::Failed => return None,
        })
    }
}

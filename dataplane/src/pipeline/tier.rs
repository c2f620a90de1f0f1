//! In which order upstreams are taken, by how they stand.

use std::time::Instant;

use crate::upstream::health::{Doubt, Health, Standing};

/// The best first. A request is given one of a worse tier only while there is nobody in a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// For a request that would fail with its upstream: who is plainly up.
    Sure,
    /// Who is up, and who may be again: the request that finds out goes elsewhere if it is not so.
    Usual,
    Warming,
    /// It takes connections, and may answer.
    Ejected,
    /// It may take a connection. Where everybody is left alone for it, all that is known is of a moment ago: asking costs
    /// less than refusing what could be served.
    Paused,
}

const ALL: [Tier; 5] = [Tier::Sure, Tier::Usual, Tier::Warming, Tier::Ejected, Tier::Paused];

impl Tier {
    /// Those that a request may be given, in order. `is_careful`: it cannot be sent to another upstream if this one fails it.
    pub fn all(is_careful: bool) -> &'static [Tier] {
        if is_careful { &ALL } else { &ALL[1..] }
    }

    /// None for who gets nothing at all.
    pub fn of(health: &Health, is_careful: bool, now: impl Fn() -> Instant) -> Option<Tier> {
        Some(match health.standing(&now) {
            Standing::Up if is_careful => Tier::Sure,
            // Somebody has to find out.
            Standing::Doubted(_) if is_careful && health.is_overdue(now) => Tier::Sure,
            Standing::Up | Standing::Doubted(_) => Tier::Usual,
            Standing::Warming => Tier::Warming,
            Standing::Ejected | Standing::Tried(Doubt::Answers | Doubt::Completes) => Tier::Ejected,
            Standing::Paused | Standing::Tried(Doubt::Connects) => Tier::Paused,
            Standing::Failed => return None,
        })
    }

    /// Whoever is given one of these shares it with others who have nothing else.
    pub fn is_last_resort(self) -> bool {
        self >= Tier::Ejected
    }
}

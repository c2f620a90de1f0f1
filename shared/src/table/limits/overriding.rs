//! Limits that take the place of others.

use std::cmp::Reverse;

use super::{InForce, Matching};
use crate::model::pattern::Precision;
use crate::model::{LimitId, Mode, Pattern, ServiceName};

/// The smallest is the most specific.
type Specific = ([(Precision, Reverse<usize>); 4], Reverse<u64>, LimitId);

fn specific(in_force: &InForce) -> Specific {
    let limit = &in_force.limit;
    let of = |pattern: &Pattern| (pattern.precision(), Reverse(pattern.as_str().len()));
    let patterns = [&limit.auth_token, &limit.path, &limit.method, &limit.protocol].map(of);
    (patterns, Reverse(limit.data_size), limit.id)
}

/// Leaves out what is replaced. A limit that only observes replaces nothing: it would take others out of force.
pub(super) fn settle(found: &mut Matching<'_>) {
    let enforced = |in_force: &InForce| in_force.limit.overrides && in_force.limit.mode == Mode::Enforce;
    let mut winners: Vec<(Option<ServiceName>, Specific)> = Vec::new();
    for in_force in found.iter().filter(|in_force| enforced(in_force)) {
        let (service, specific) = (&in_force.limit.service, specific(in_force));
        match winners.iter_mut().find(|(of, _)| of == service) {
            Some((_, winner)) => *winner = (*winner).min(specific),
            None => winners.push((service.clone(), specific)),
        }
    }
    if winners.is_empty() {
        return;
    }
    found.retain(|in_force| {
        let winner = winners.iter().find(|(service, _)| *service == in_force.limit.service);
        winner.is_none_or(|(_, winner)| {
            let own = specific(in_force);
            own == *winner || in_force.limit.overrides && own < *winner
        })
    });
}

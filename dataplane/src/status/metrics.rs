//! The Prometheus text format, version 0.0.4.

use std::fmt::{Display, Write};

use super::Status;
use crate::limiter::{Decided, Tallies};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Endpoints listed at most; only those with something in flight are.
const ENDPOINTS_MAX: usize = 10_000;

pub(super) fn render(status: &Status) -> String {
    let mut text = String::new();
    let draining = status.views.draining();
    metric(
        &mut text,
        "vulcan_ready",
        "gauge",
        u64::from(status.readiness().is_ok()),
    );
    metric(
        &mut text,
        "vulcan_client_connections",
        "gauge",
        status.connections.now(),
    );
    metric(
        &mut text,
        "vulcan_client_connections_total",
        "counter",
        status.connections.total(),
    );
    metric(&mut text, "vulcan_draining", "gauge", draining.len() as u64);
    metric(
        &mut text,
        "vulcan_held_requests",
        "gauge",
        status.views.holding().waiting() as u64,
    );

    let view = status.views.now();
    let endpoints = view.pools().flat_map(|pool| pool.registered());
    let selectable = endpoints.map(|endpoint| {
        let identity = endpoint.identity();
        (identity.service.shared(), identity.id.shared(), endpoint.in_flight())
    });
    let retired = draining
        .into_iter()
        .map(|entry| (entry.service, entry.id, entry.in_flight));
    // An id that was registered again while it drains is two identities, and one line.
    let mut in_flight = std::collections::BTreeMap::new();
    for (service, id, count) in selectable
        .chain(retired)
        .filter(|(_, _, count)| *count > 0)
        .take(ENDPOINTS_MAX)
    {
        *in_flight.entry((service, id)).or_insert(0) += count;
    }
    text.push_str("# TYPE vulcan_upstream_in_flight gauge\n");
    for ((service, id), count) in in_flight {
        // Neither name can hold what would have to be escaped.
        let _ = writeln!(
            text,
            "vulcan_upstream_in_flight{{service=\"{service}\",upstream=\"{id}\"}} {count}"
        );
    }
    decisions(&mut text, status.views.limiter().tallies());
    text
}

/// Limits listed at most; those beyond are counted together.
const LIMITS_MAX: usize = 1_000;

fn decisions(text: &mut String, tallies: &Tallies) {
    text.push_str("# TYPE vulcan_limit_decisions_total counter\n");
    let all = tallies.all();
    let mut line = |limit: &dyn Display, decision: &str, count: u64| {
        if count > 0 {
            let _ = writeln!(
                text,
                "vulcan_limit_decisions_total{{limit=\"{limit}\",decision=\"{decision}\"}} {count}"
            );
        }
    };
    for (id, tally) in all.iter().take(LIMITS_MAX) {
        for (name, decided) in Decided::ALL {
            line(id, name, tally.sum(decided));
        }
    }
    for (name, decided) in Decided::ALL {
        let others = all.values().skip(LIMITS_MAX).map(|tally| tally.sum(decided));
        line(&"other", name, others.sum());
    }
}

fn metric(text: &mut String, name: &str, kind: &str, value: u64) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

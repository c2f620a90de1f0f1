//! What a proxy tells of itself.

use std::collections::BTreeMap;

use net::clock::boottime;
use net::metrics::{Family, Kind, Label, Page, process};
use shared::stream::message::OTHERS;

use super::Status;
use crate::counts::{Counts, Decided as Authorized, Delivered, Outcome, ServiceCounts};
use crate::limiter::{Decided, Tallies};

/// Endpoints listed at most; only those with something in flight are.
const ENDPOINTS_MAX: usize = 10_000;
/// Limits listed at most; those beyond are counted together.
const LIMITS_MAX: usize = 1_000;

/// What has no service. No name begins so.
pub(super) const NONE: &str = "_none";

pub(super) fn render(status: &Status) -> String {
    let mut page = Page::default();
    standing(&mut page, status);
    let counts = status.views.counts();
    services(&mut page, counts);
    upstreams(&mut page, counts);
    in_flight(&mut page, status);
    decisions(&mut page, status.views.limiter().tallies());
    authorizers(&mut page, counts);
    if let Some(log) = &status.log {
        let help = "Lines that are not in the access log.";
        page.counter("vulcan_access_log_dropped_total", help, log.dropped());
    }
    process(&mut page);
    page.into_text()
}

fn standing(page: &mut Page, status: &Status) {
    let (views, connections) = (&status.views, &status.connections);
    let progress = views.progress();
    let is_ready = u64::from(status.readiness().is_ok());
    page.gauge("vulcan_ready", "1 while /readyz is 200.", is_ready);
    let help = "The last revision of the configuration that is in use here.";
    page.gauge("vulcan_revision", help, progress.revision());
    let help = "What is left of the lease; 0 when it is over.";
    let left = progress.lease_left(boottime()).as_secs_f64();
    page.gauge("vulcan_lease_seconds", help, left);
    let help = "Connections of clients that are open.";
    page.gauge("vulcan_client_connections", help, connections.now());
    let help = "Connections of clients that were accepted.";
    page.counter("vulcan_client_connections_total", help, connections.total());
    let help = "Registrations that are retired or replaced, and still in use.";
    page.gauge("vulcan_draining", help, views.draining().len());
    let help = "Requests that wait for the end of a hold.";
    page.gauge("vulcan_held_requests", help, views.holding().waiting());
}

fn services(page: &mut Page, counts: &Counts) {
    let all = counts.services.all();
    let named = all.iter().map(|(name, counts)| (name.as_str(), &**counts));
    let all: Vec<(&str, &ServiceCounts)> = named
        .chain([(OTHERS, counts.services.others()), (NONE, &counts.unrouted)])
        .collect();
    let help = "Requests that have ended, by the service and the status of the answer.";
    let mut requests = page.family("vulcan_http_requests_total", Kind::Counter, help);
    for (service, counts) in &all {
        for (code, sum) in counts.by_code() {
            match code {
                Some(code) => requests.sample(&[("service", service), ("code", &code)], sum),
                None => requests.sample(&[("service", service), ("code", &"other")], sum),
            }
        }
    }
    let help = "From a request's whole head to the last of its answer.";
    let mut took = page.family("vulcan_http_request_duration_seconds", Kind::Histogram, help);
    for (service, counts) in &all {
        let durations = counts.durations();
        if durations.count() > 0 {
            took.histogram(&[("service", service)], &durations);
        }
    }
    let help = "Messages, and recipients refused before there was one, by what the client was told.";
    let mut mail = page.family("vulcan_mail_total", Kind::Counter, help);
    for (service, counts) in &all {
        for (outcome, delivered) in Delivered::ALL {
            let sum = counts.mail_sum(delivered);
            some(&mut mail, &[("service", service), ("outcome", &outcome)], sum);
        }
    }
}

fn upstreams(page: &mut Page, counts: &Counts) {
    let help = "Attempts at upstreams: requests, mail and questions to authorizers; no health checks.";
    let mut attempts = page.family("vulcan_upstream_requests_total", Kind::Counter, help);
    let all = counts.upstreams.all();
    let named = all
        .iter()
        .map(|((service, id), counts)| (service.as_str(), id.as_str(), &**counts));
    for (service, upstream, counts) in named.chain([(OTHERS, OTHERS, counts.upstreams.others())]) {
        for (name, outcome) in Outcome::ALL {
            let labels: [Label<'_>; 3] = [("service", &service), ("upstream", &upstream), ("outcome", &name)];
            some(&mut attempts, &labels, counts.sum(outcome as usize));
        }
    }
}

fn in_flight(page: &mut Page, status: &Status) {
    let view = status.views.now();
    let endpoints = view.pools().flat_map(|pool| pool.registered());
    let selectable = endpoints.map(|endpoint| {
        let identity = endpoint.identity();
        (identity.service.shared(), identity.id.shared(), endpoint.in_flight())
    });
    let draining = status.views.draining().into_iter();
    let retired = draining.map(|entry| (entry.service, entry.id, entry.in_flight));
    // An id that was registered again while it drains is two identities, and one line.
    let mut sums = BTreeMap::new();
    for (service, id, count) in selectable
        .chain(retired)
        .filter(|(_, _, count)| *count > 0)
        .take(ENDPOINTS_MAX)
    {
        *sums.entry((service, id)).or_insert(0) += count;
    }
    let mut family = page.family("vulcan_upstream_in_flight", Kind::Gauge, "Requests in flight.");
    for ((service, id), count) in sums {
        family.sample(&[("service", &service), ("upstream", &id)], count);
    }
}

fn decisions(page: &mut Page, tallies: &Tallies) {
    let help = "Requests that a limit was asked about, by what it said.";
    let mut family = page.family("vulcan_limit_decisions_total", Kind::Counter, help);
    let all = tallies.all();
    for (id, tally) in all.iter().take(LIMITS_MAX) {
        for (name, decided) in Decided::ALL {
            some(&mut family, &[("limit", id), ("decision", &name)], tally.sum(decided));
        }
    }
    for (name, decided) in Decided::ALL {
        let others = all.values().skip(LIMITS_MAX).map(|tally| tally.sum(decided));
        some(&mut family, &[("limit", &"other"), ("decision", &name)], others.sum());
    }
}

fn authorizers(page: &mut Page, counts: &Counts) {
    let help = "Requests and sessions that an authorizer decided about, or could not.";
    let mut family = page.family("vulcan_auth_total", Kind::Counter, help);
    let all = counts.authorizers.all();
    let named = all.iter().map(|(name, counts)| (name.as_str(), &**counts));
    for (authorizer, counts) in named.chain([(OTHERS, counts.authorizers.others())]) {
        for (name, decided) in Authorized::ALL {
            let sum = counts.sum(decided as usize);
            some(&mut family, &[("authorizer", &authorizer), ("outcome", &name)], sum);
        }
    }
}

/// What never happened is not told.
fn some(family: &mut Family<'_>, labels: &[Label<'_>], sum: u64) {
    if sum > 0 {
        family.sample(labels, sum);
    }
}

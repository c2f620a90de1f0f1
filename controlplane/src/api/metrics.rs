//! What a control plane counts, and tells of the fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use net::metrics::{self, Distribution, Histogram, Kind, Page};
use shared::stream::hub::Presence;
use shared::stream::wait::{Condition, Report};

use super::{Api, WAITERS_MAX, WATCHERS_MAX};
use crate::push::Lag;
use crate::registry::plan::{Goal, Plan};

/// Proxies that are told of by name: those that are furthest behind.
const PROXIES_MAX: usize = 100;

/// How a write's wait ended.
#[derive(Clone, Copy)]
enum Outcome {
    Reached,
    NotReached,
    /// A proxy refused what was written.
    Refused,
    /// Whoever wrote did not wait for the answer.
    Abandoned,
}

const OUTCOMES: [(&str, Outcome); 4] = [
    ("reached", Outcome::Reached),
    ("not_reached", Outcome::NotReached),
    ("refused", Outcome::Refused),
    ("abandoned", Outcome::Abandoned),
];

#[derive(Default)]
pub struct Counts {
    waits: [[AtomicU64; OUTCOMES.len()]; Goal::NAMES.len()],
    /// From the commit to the last acknowledgement.
    live: Histogram,
}

/// A write that waits, counted once.
pub struct Waiting<'a> {
    counts: &'a Counts,
    goal: Goal,
    outcome: Outcome,
}

impl Counts {
    /// One that does not end otherwise is abandoned.
    pub fn wait(&self, goal: Goal) -> Waiting<'_> {
        Waiting {
            counts: self,
            goal,
            outcome: Outcome::Abandoned,
        }
    }
}

impl Waiting<'_> {
    /// Only what waits for nothing else tells how long it takes until a change is in use.
    pub fn end(mut self, plan: &Plan, report: &Report, committed: Instant) {
        self.outcome = match report {
            Report { reached: true, .. } => Outcome::Reached,
            Report { refused_now: true, .. } => Outcome::Refused,
            _ => Outcome::NotReached,
        };
        if report.reached && plan.spec.condition == Condition::Applied && report.members > 0 {
            self.counts.live.record(committed.elapsed());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.goal != Goal::None {
            self.counts.waits[self.goal as usize][self.outcome as usize].fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub async fn show(State(api): State<Arc<Api>>) -> Response {
    let headers = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, render(&api)).into_response()
}

fn render(api: &Api) -> String {
    let mut page = Page::default();
    let head = api.changelog.head().state.revision;
    page.gauge(
        "vulcan_revision",
        "The head of the log, as far as it is known here.",
        head,
    );
    fleet(&mut page, api.fleet.lags());
    writes(&mut page, &api.counts);
    let waiting = WAITERS_MAX - api.waiters.available_permits();
    page.gauge("vulcan_waiting_writes", "Writes that wait for the fleet.", waiting);
    let watching = WATCHERS_MAX - api.watchers.available_permits();
    page.gauge("vulcan_watchers", "Clients that watch the log.", watching);
    let help = "Upstreams that stand though their heartbeats stopped, since too many of a service did at once.";
    page.gauge("vulcan_heartbeats_held", help, api.heartbeats.held_here());
    metrics::process(&mut page);
    page.into_text()
}

fn fleet(page: &mut Page, mut lags: Vec<Lag>) {
    let mut family = page.family("vulcan_proxies", Kind::Gauge, "Proxies of the fleet.");
    for (name, state) in [
        ("present", Presence::Present),
        ("absent", Presence::Absent),
        ("detached", Presence::Detached),
    ] {
        let count = lags.iter().filter(|lag| lag.state == state).count();
        family.sample(&[("state", &name)], count);
    }
    lags.sort_by(|one, other| other.behind.cmp(&one.behind).then_with(|| one.name.cmp(&other.name)));
    let worst = lags.first().map_or(0.0, |lag| lag.behind.as_secs_f64());
    let help = "Of the proxy that is furthest behind.";
    page.gauge("vulcan_proxy_lag_worst_seconds", help, worst);
    let help = "Since the first change that a proxy has not acknowledged was committed; 0 when it lacks none.";
    let mut family = page.family("vulcan_proxy_lag_seconds", Kind::Gauge, help);
    for lag in lags.iter().take(PROXIES_MAX) {
        family.sample(&[("proxy", &lag.name)], lag.behind.as_secs_f64());
    }
}

fn writes(page: &mut Page, counts: &Counts) {
    let help = "Writes that waited for the fleet, by what for and how that ended.";
    let mut family = page.family("vulcan_wait_total", Kind::Counter, help);
    for (goal, of) in Goal::NAMES.iter().filter(|(_, goal)| *goal != Goal::None) {
        for (name, outcome) in OUTCOMES {
            let count = counts.waits[*of as usize][outcome as usize].load(Ordering::Relaxed);
            family.sample(&[("for", goal), ("outcome", &name)], count);
        }
    }
    let help = "From a commit to its last acknowledgement, of writes that waited for that alone.";
    let mut live = Distribution::default();
    live.add(&counts.live);
    let mut family = page.family("vulcan_write_live_seconds", Kind::Histogram, help);
    family.histogram(&[], &live);
}

//! Health checks: every proxy asks every upstream of a service that has them, beside the workers; and whether an upstream
//! that has failed a request is well again.
//!
//! ```text
//!   in the table at the start ─▶ passed ── unhealthy_after failures ─▶ failed
//!   came live ─▶ warming ── healthy_after passes ─▶ passed ◀── healthy_after passes ──┘
//! ```

mod probe;
mod proof;
#[cfg(test)]
mod tests;
mod warming;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use shared::model::HealthCheck;
use shared::stream::message;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::warming::WarmingSet;
use super::endpoint::Endpoint;
use super::health;
use super::trial::Probes;
use crate::pipeline::dice;

/// Checks under way at a time, of all upstreams.
const CHECKS_MAX: usize = 256;
/// The same of proofs, which are no part of those: what stands still keeps nobody from being checked.
const PROOFS_MAX: usize = 256;
/// Whoever waits for an upstream to be well is told soon: until it is, it is asked at least so often.
const WARMING_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// What an endpoint carries of its checks.
pub(super) struct Checkup {
    check: watch::Sender<Option<Arc<HealthCheck>>>,
    last: Mutex<Arc<str>>,
}

impl Checkup {
    /// Outcome of the last check, for people.
    fn last(&self) -> MutexGuard<'_, Arc<str>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is checked, and who has not passed yet.
#[derive(Default)]
pub struct Checks {
    /// Not yet begun with.
    fresh: Mutex<Vec<Arc<Endpoint>>>,
    added: Notify,
    warming: WarmingSet,
    places: Places,
    probes: Arc<Probes>,
}

struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(CHECKS_MAX)))
    }
}

impl Checks {
    /// From now on the endpoint is checked like this, or not at all. One that `came_live` begins slowly,
    /// and is warming until it has passed.
    pub(crate) fn assign(&self, endpoint: &Arc<Endpoint>, check: Option<&Arc<HealthCheck>>, came_live: bool) {
        if came_live {
            endpoint.health().begin_slowly(StdInstant::now());
        }
        if check.is_none() && endpoint.checkup().get().is_none() {
            return;
        }
        let mut is_first = false;
        let checkup = endpoint.checkup().get_or_init(|| {
            is_first = true;
            Box::new(Checkup {
                check: watch::Sender::new(check.cloned()),
                last: Mutex::new("not checked yet".into()),
            })
        });
        if came_live && check.is_some() {
            self.warming.add(endpoint);
        }
        if is_first {
            self.fresh().push(endpoint.clone());
            self.added.notify_one();
            return;
        }
        let is_changed = checkup.check.send_if_modified(|now| {
            let is_changed = now.as_ref() != check;
            if is_changed {
                *now = check.cloned();
            }
            is_changed
        });
        if is_changed && check.is_none() {
            self.pass(endpoint);
        }
    }

    /// Whoever came live and has not passed yet: a level, true at this moment.
    pub fn warming(&self) -> Vec<message::Warming> {
        self.warming.level()
    }

    /// Sees a new value whenever one has passed.
    pub fn passed(&self) -> watch::Receiver<u64> {
        self.warming.passed()
    }

    /// Where those are called for that are in doubt.
    pub(crate) fn probes(&self) -> &Arc<Probes> {
        &self.probes
    }

    /// Checks until `stop`. For one caller.
    pub async fn keep(self: Arc<Checks>, stop: CancellationToken) {
        let Some(mut called_for) = self.probes.take() else {
            return;
        };
        let mut watches = JoinSet::new();
        let mut proofs = JoinSet::new();
        loop {
            let fresh = std::mem::take(&mut *self.fresh());
            for endpoint in fresh {
                let checks = self.clone();
                watches.spawn(async move {
                    tokio::select! {
                        biased;
                        () = endpoint.retired_token().cancelled() => {}
                        () = checks.watch(&endpoint) => {}
                    }
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.added.notified() => {}
                Some(_) = watches.join_next() => {}
                Some(_) = proofs.join_next() => {}
                Some(probe) = called_for.recv(), if proofs.len() < PROOFS_MAX => {
                    proofs.spawn(proof::make(probe));
                }
            }
        }
    }

    async fn watch(&self, endpoint: &Arc<Endpoint>) {
        let Some(checkup) = endpoint.checkup().get() else {
            return;
        };
        let mut assigned = checkup.check.subscribe();
        loop {
            let check = assigned.borrow_and_update().clone();
            let repeat = async {
                match check {
                    Some(check) => self.repeat(endpoint, checkup, &check).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = assigned.changed() => if changed.is_err() { return },
                () = repeat => {}
            }
        }
    }

    async fn repeat(&self, endpoint: &Arc<Endpoint>, checkup: &Checkup, check: &HealthCheck) {
        let mut series = Series::default();
        // At once if somebody waits for it, else spread: a table may bring thousands.
        let mut due = match endpoint.is_warming() {
            true => Instant::now(),
            false => Instant::now() + part(check.interval, dice::roll(100)),
        };
        loop {
            sleep_until(due).await;
            let Ok(_place) = self.places.0.acquire().await else {
                return;
            };
            let began = Instant::now();
            let outcome = probe::probe(endpoint, check).await;
            let (Ok(said) | Err(said)) = &outcome;
            said.clone_into(&mut checkup.last());
            self.judge(endpoint, check, series.next(outcome.is_ok()), outcome);
            let interval = match endpoint.is_warming() {
                true => check.interval.min(WARMING_INTERVAL_MAX),
                false => check.interval,
            };
            // Proxies that started together, and upstreams that came together, drift apart.
            due = began + part(interval, 90 + dice::roll(21));
        }
    }

    fn judge(&self, endpoint: &Arc<Endpoint>, check: &HealthCheck, in_a_row: u32, outcome: probe::Outcome) {
        let health = endpoint.health();
        let identity = endpoint.identity();
        let (service, upstream) = (&identity.service, &identity.id);
        match (health.checked(), outcome) {
            (health::Checked::Passed, Err(why)) if in_a_row >= check.unhealthy_after => {
                tracing::warn!(%service, %upstream, %why, "its health checks fail: it gets no requests");
                health.set_checked(health::Checked::Failed);
            }
            (health::Checked::Failed | health::Checked::Warming, Ok(_)) if in_a_row >= check.healthy_after => {
                tracing::info!(%service, %upstream, "its health checks pass");
                self.pass(endpoint);
            }
            _ => {}
        }
    }

    /// What was seen of it before, while nothing better was there, does not count any more.
    fn pass(&self, endpoint: &Endpoint) {
        endpoint.health().succeeded();
        endpoint.health().begin_slowly(StdInstant::now());
        let was_warming = endpoint.is_warming();
        endpoint.health().set_checked(health::Checked::Passed);
        endpoint.care().queue().free_all();
        if was_warming {
            self.warming.signal();
        }
    }

    fn fresh(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(of: Duration, percent: u64) -> Duration {
    of.saturating_mul(u32::try_from(percent).unwrap_or(100)) / 100
}

/// Equal outcomes in a row.
#[derive(Default)]
struct Series {
    passed: bool,
    length: u32,
}

impl Series {
    fn next(&mut self, passed: bool) -> u32 {
        let goes_on = self.passed == passed;
        self.passed = passed;
        self.length = if goes_on { self.length.saturating_add(1) } else { 1 };
        self.length
    }
}

//! What a worker decides by: the routing table and the endpoints behind it, swapped as one.
//!
//! A change comes in two steps. `Views::swap` makes the new table the one that every later decision reads; only then
//! `Views::retire` forbids what it left out, so that a pick which meets a retired endpoint finds another table to look at,
//! and takes the table's holds into force.

mod draining;
mod holding;
mod pool;
mod progress;
mod reader;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use imbl::{HashMap, OrdMap};
use shared::model::{AuthorizerName, ServiceName};
use shared::stream::message;
use shared::table::{Entry, Table};
use shared::time::Time;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::draining::DrainingSet;
pub use self::holding::Holding;
use self::holding::Standing;
pub use self::pool::{Candidate, Pool};
pub use self::progress::Progress;
use self::reader::LeaseEnd;
pub use self::reader::Reader;
use crate::authorizer::Asked;
use crate::counts::{Counts, ServiceCounts};
use crate::limiter::Limiter;
use crate::upstream::care::Care;
use crate::upstream::check::Checks;
use crate::upstream::endpoint::{DrainSignal, Endpoint, Identity};
use crate::upstream::resolve::Names;
use crate::upstream::stray::Strays;

/// One state of the configuration, whole. Persistent maps: the next one shares what did not change.
#[derive(Default)]
pub struct View {
    table: Table,
    pools: HashMap<ServiceName, Arc<Pool>>,
    /// How many upstreams of a service serve on until who took their place is well; services without any are not here.
    formers: OrdMap<ServiceName, usize>,
    /// Raised where a table follows that is no change of the one before it, but a whole of its own.
    era: u64,
    /// Raised where limits differ from those of the view before.
    limits_era: u64,
    /// Of all views.
    strays: Arc<Strays>,
}

impl View {
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Views in which it is the same have the same limits.
    pub fn limits_era(&self) -> u64 {
        self.limits_era
    }

    pub fn pool(&self, service: &ServiceName) -> Option<&Arc<Pool>> {
        self.pools.get(service)
    }

    /// For a service, also one that has just been deleted.
    pub fn counts_of(&self, all: &Counts, service: &ServiceName) -> Arc<ServiceCounts> {
        match self.pool(service) {
            Some(pool) => pool.care().counts(all, service).clone(),
            None => all.services.of(service),
        }
    }

    /// An authorizer, to be asked as it stands here.
    pub fn asked(&self, name: &AuthorizerName) -> Option<Asked> {
        let authority = self.table.authority(name)?.clone();
        Some(Asked {
            authority,
            era: self.era,
        })
    }

    /// Where requests go that an authorizer sends to what is not in the table.
    pub fn strays(&self) -> &Arc<Strays> {
        &self.strays
    }

    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.values()
    }
}

/// What a swap left without a place in the table, and how the services that it touched stand to holds.
#[must_use = "endpoints keep their requests coming until they are retired"]
#[derive(Default)]
pub struct LeftOut {
    /// Each with the time that its requests are given.
    endpoints: Vec<(Arc<Endpoint>, Duration)>,
    standings: Vec<Standing>,
    is_whole: bool,
    has_admissions: bool,
}

impl LeftOut {
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.identity())
    }

    /// Whether requests that were admitted on the table before may not be on this one. Each looks before it is sent; the
    /// change is true once all have been sent that looked before the swap.
    pub fn has_admissions(&self) -> bool {
        self.has_admissions
    }
}

pub struct Views {
    current: Arc<ArcSwap<View>>,
    workers: usize,
    names: Arc<Names>,
    draining: DrainingSet,
    drained: Arc<DrainSignal>,
    lease: Arc<LeaseEnd>,
    holding: Arc<Holding>,
    checks: Arc<Checks>,
    limiter: Arc<Limiter>,
    counts: Arc<Counts>,
    progress: Progress,
    /// There is a table: what a later one brings came live.
    is_started: AtomicBool,
}

/// Upstreams that serve on at a time until who took their place is well; beyond that one is retired when its place is
/// taken. All are in every level that the proxy reports.
const FORMERS_MAX: usize = 1_000;

impl Views {
    pub fn new(workers: usize) -> Arc<Views> {
        let (names, drained) = (Arc::<Names>::default(), Arc::<DrainSignal>::default());
        let first = View {
            strays: Arc::new(Strays::new(workers, names.clone(), drained.clone())),
            ..View::default()
        };
        Arc::new(Views {
            current: Arc::new(ArcSwap::from_pointee(first)),
            workers,
            names,
            draining: DrainingSet::default(),
            drained,
            lease: Arc::default(),
            holding: Arc::default(),
            checks: Arc::default(),
            limiter: Arc::new(Limiter::new(workers)),
            counts: Arc::new(Counts::new(workers)),
            progress: Progress::default(),
            is_started: AtomicBool::new(false),
        })
    }

    /// Makes `table` the one of now, whatever lies between the two: for a snapshot. Looks at every service.
    pub fn swap(&self, table: Table) -> LeftOut {
        let before = self.now();
        let all = table.entries().chain(before.table.entries());
        let mut names: HashSet<&ServiceName> = all
            .filter(|entry| {
                let name = entry.service.name.as_str();
                let (old, new) = (before.table.entry(name), table.entry(name));
                !matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new))
            })
            .map(|entry| &entry.service.name)
            .collect();
        names.extend(table.all_held().chain(before.table.all_held()).map(|(name, _)| name));
        let names: Vec<ServiceName> = names.into_iter().cloned().collect();
        self.replace(table, &names, before.era + 1)
    }

    /// Makes `table` the one of now, which differs from that before it in the services `touched` only. Costs what changed,
    /// not what the table holds. Endpoints whose identity is in both tables stay as they are, with what is in flight,
    /// their health and their connections.
    ///
    /// One caller swaps; readers may be many.
    pub fn swap_touched(&self, table: Table, touched: &[ServiceName]) -> LeftOut {
        self.replace(table, touched, self.now().era)
    }

    fn replace(&self, table: Table, touched: &[ServiceName], era: u64) -> LeftOut {
        let before = self.now();
        let (mut pools, mut formers) = (before.pools.clone(), before.formers.clone());
        let has_limits_of_before = table.has_limits_of(&before.table);
        let mut left = LeftOut {
            endpoints: Vec::new(),
            standings: Vec::with_capacity(touched.len()),
            is_whole: era != before.era,
            has_admissions: era != before.era || !table.shares_authorities_with(&before.table) || !has_limits_of_before,
        };
        for name in touched {
            let old = pools.get(name).cloned();
            formers.remove(name);
            let formers_max = FORMERS_MAX.saturating_sub(formers.values().sum());
            let new = table
                .entry(name.as_str())
                .map(|entry| Arc::new(self.pool(entry, old.as_deref(), formers_max)));
            if let Some(old) = old {
                let drain = new.as_deref().unwrap_or(&old).service().timeouts.drain;
                let endpoints = old.left_out(new.as_deref());
                left.endpoints.extend(endpoints.map(|endpoint| (endpoint, drain)));
                left.has_admissions |= new.as_deref().is_none_or(|new| new.revision() != old.revision());
            }
            let care = new.as_ref().map(|new| new.care().clone());
            left.standings.push(Standing {
                service: name.clone(),
                held: table.held(name).zip(care),
            });
            if let Some(new) = new.as_ref().filter(|new| new.formers_count() > 0) {
                formers.insert(name.clone(), new.formers_count());
            }
            match new {
                Some(pool) => pools.insert(name.clone(), pool),
                None => pools.remove(name),
            };
        }
        let strays = before.strays.clone();
        self.current.store(Arc::new(View {
            table,
            pools,
            formers,
            era,
            limits_era: before.limits_era + u64::from(!has_limits_of_before),
            strays,
        }));
        self.is_started.store(true, Ordering::Relaxed);
        left
    }

    /// No request is sent to them from now on, nor to services that are held. Their idle connections close, what is in flight goes on until it ends or
    /// the time for draining is over, and until then they are in `draining`.
    pub fn retire(&self, left: LeftOut) {
        self.retire_at(left, Instant::now());
    }

    /// As `retire`, with the time for draining, and of holds, counted from `now`.
    pub fn retire_at(&self, left: LeftOut, now: Instant) {
        for (endpoint, _) in &left.endpoints {
            endpoint.retire();
        }
        self.holding.follow(left.standings, left.is_whole, now);
        let mut busy = Vec::new();
        for (endpoint, drain) in left.endpoints {
            endpoint.retired_token().cancel();
            if endpoint.in_flight() > 0 {
                busy.push((endpoint, now.checked_add(drain)));
            }
        }
        if !busy.is_empty() {
            self.draining.add(busy.into_iter());
            self.drained.send_modify(|times| *times = times.wrapping_add(1));
        }
    }

    /// Retires what served on for an upstream that is well now. For the one caller that swaps, whenever a check has passed.
    pub fn hand_over(&self) {
        let view = self.now();
        let has_handed_over = |name: &&ServiceName| view.pool(name).is_some_and(|pool| pool.has_handed_over());
        let touched: Vec<ServiceName> = view.formers.keys().filter(has_handed_over).cloned().collect();
        if !touched.is_empty() {
            self.retire(self.replace(view.table.clone(), &touched, view.era));
        }
    }

    /// Every identity that the table does not name any more and that is in use: retired with something still in flight, or
    /// serving on. A level, true at this moment.
    pub fn draining(&self) -> Vec<message::Draining> {
        let view = self.now();
        let pools = view.formers.keys().filter_map(|name| view.pool(name));
        // Checks end with the retirement, which is yet to come.
        let formers = pools.flat_map(|pool| pool.formers());
        let mut level: Vec<message::Draining> = formers.map(|one| draining::told(one, one.requests())).collect();
        level.extend(self.draining.level());
        level
    }

    /// Every hold that is in force, with what is in flight at its service's upstreams: a level, true at this moment.
    pub fn held(&self) -> Vec<message::Held> {
        let in_force = self.holding.in_force();
        if in_force.is_empty() {
            return Vec::new();
        }
        let view = self.now();
        let busy = |service: &ServiceName| {
            let registered = view.pool(service).into_iter().flat_map(|pool| pool.busy());
            let all = registered.chain(view.strays.busy(service));
            all.take(message::BUSY_MAX).collect()
        };
        let held = in_force.into_iter().map(|(service, revision)| message::Held {
            busy: busy(&service),
            service: service.shared(),
            revision,
        });
        held.collect()
    }

    /// Ends holds whose time is over; says when the next is due.
    pub fn end_overdue(&self, now: Instant) -> Option<Instant> {
        let (any, next) = self.holding.end_overdue(now);
        if any {
            self.drained.send_modify(|times| *times = times.wrapping_add(1));
        }
        next
    }

    /// Does so whenever one is due, until `stop`.
    pub async fn keep_ending(self: Arc<Views>, stop: CancellationToken) {
        loop {
            let due = self.end_overdue(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.holding.begun() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Sees a new value whenever the set of what drains, or is held, may have changed; counts alone are no change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.drained.subscribe()
    }

    /// Cuts what has been draining for too long; says when the next is due.
    pub fn cut_overdue(&self, now: Instant) -> Option<Instant> {
        self.draining.cut_overdue(now)
    }

    /// Does so whenever it is due, until `stop`.
    pub async fn keep_cutting(self: Arc<Views>, stop: CancellationToken) {
        let mut changed = self.changed();
        loop {
            changed.borrow_and_update();
            let due = self.cut_overdue(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changed.changed() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// The view of now, for whoever looks rarely. Workers have a `Reader`.
    pub fn now(&self) -> Arc<View> {
        self.current.load_full()
    }

    pub fn reader(&self) -> Reader {
        let (lease, holding) = (self.lease.clone(), self.holding.clone());
        let (counts, limiter) = (self.counts.clone(), self.limiter.clone());
        Reader::new(self.current.clone(), lease, holding, counts, limiter)
    }

    /// No request may be sent to an upstream after that.
    pub fn send_until(&self, end: Option<Time>) {
        self.lease.set(end);
    }

    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Who is checked, and who came live and has not passed its check yet.
    pub fn checks(&self) -> &Arc<Checks> {
        &self.checks
    }

    /// By whom requests are counted.
    pub fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// How far these follow the control plane.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// By whom they are counted in the metrics.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    fn pool(&self, entry: &Entry, old: Option<&Pool>, formers_max: usize) -> Pool {
        let care = old.map_or_else(
            || Arc::new(Care::probed(self.workers, self.checks.probes().clone())),
            |old| old.care().clone(),
        );
        let pool = Pool::new(entry, old, care.clone(), formers_max, |identity| {
            let targets = self.names.targets(&identity.address);
            let drained = self.drained.clone();
            Arc::new(Endpoint::new(identity, self.workers, targets, care.clone(), drained))
        });
        let is_started = self.is_started.load(Ordering::Relaxed);
        for Candidate { endpoint, .. } in pool.candidates() {
            let is_new = !old.is_some_and(|old| old.has(endpoint));
            let check = pool.service().health_check.as_ref();
            self.checks.assign(endpoint, check, is_new && is_started);
        }
        pool
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

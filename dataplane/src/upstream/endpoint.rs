//! One registration of an upstream as this proxy lives with it: what is in flight there, whether it still may be chosen,
//! what was seen of its health. An endpoint outlives every swap of the table that leaves its identity as it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use shared::change::Revision;
use shared::model::{Address, ServiceName, UpstreamId};
use shared::stream::message::Busy;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::care::Care;
use super::check::Checkup;
use super::health::{Checked, Health};
use super::inflight::Lanes;
use super::resolve::Targets;
use crate::counts::{Counts, UpstreamCounts};
use crate::limiter::Permits;

/// What drains: a new address or a new registration of the same id is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub service: ServiceName,
    pub id: UpstreamId,
    pub address: Address,
    /// The revision that began this registration; zero where there is none.
    pub registration: Revision,
}

impl Identity {
    /// An authorizer may name others.
    pub fn is_registered(&self) -> bool {
        self.registration > Revision::ZERO
    }
}

/// Wakes whoever reports what drains, or is held.
pub(crate) type DrainSignal = watch::Sender<u64>;

pub struct Endpoint {
    identity: Identity,
    lanes: Lanes,
    retired: AtomicBool,
    tokens: OnceLock<Tokens>,
    health: Health,
    care: Arc<Care>,
    /// Taken, of those that its service allows; 0 where it allows any number.
    places: AtomicU32,
    /// Made when its service first has a health check.
    checkup: OnceLock<Box<Checkup>>,
    /// Of attempts, shared with whoever is registered by the same id before and after.
    counts: OnceLock<Arc<UpstreamCounts>>,
    targets: Targets,
    drained: Arc<DrainSignal>,
}

/// Made when first asked for, as lanes are.
#[derive(Default)]
struct Tokens {
    retired: CancellationToken,
    cut: CancellationToken,
}

impl Endpoint {
    pub(crate) fn new(
        identity: Identity,
        workers: usize,
        targets: Targets,
        care: Arc<Care>,
        drained: Arc<DrainSignal>,
    ) -> Endpoint {
        Endpoint {
            identity,
            lanes: Lanes::new(workers),
            retired: AtomicBool::new(false),
            tokens: OnceLock::new(),
            health: Health::default(),
            care,
            places: AtomicU32::new(0),
            checkup: OnceLock::new(),
            counts: OnceLock::new(),
            targets,
            drained,
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// It came live, and has not passed its health check yet.
    pub fn is_warming(&self) -> bool {
        self.health.checked() == Checked::Warming
    }

    /// Shared with the service's other endpoints.
    pub fn care(&self) -> &Arc<Care> {
        &self.care
    }

    pub(super) fn checkup(&self) -> &OnceLock<Box<Checkup>> {
        &self.checkup
    }

    /// Asked for when something is to be counted: most endpoints of a large table never are.
    pub fn counts(&self, all: &Counts) -> &UpstreamCounts {
        let Identity { service, id, .. } = &self.identity;
        self.counts
            .get_or_init(|| all.upstreams.of(&(service.clone(), id.clone())))
    }

    /// Where to connect now; empty while a name has not been resolved yet.
    pub fn addresses(&self) -> Arc<[SocketAddr]> {
        self.targets.now()
    }

    /// Where to connect, waiting for the first answer to a name if there was none yet. It may take forever: the caller
    /// sets the deadline.
    pub async fn resolved(&self) -> Arc<[SocketAddr]> {
        self.targets.resolved().await
    }

    /// Requests, tunnels and everything else that holds an `InFlight`, over all workers.
    pub fn in_flight(&self) -> u64 {
        self.lanes.sum()
    }

    /// Those of them that are no health checks.
    pub fn requests(&self) -> u64 {
        self.lanes.requests()
    }

    /// As it is told to control planes, while it has any.
    pub fn busy(&self) -> Option<Busy> {
        let in_flight = self.requests();
        let id = self.identity.id.shared();
        (in_flight > 0).then_some(Busy { id, in_flight })
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Cancelled when no further request may go there: idle connections close.
    pub fn retired_token(&self) -> &CancellationToken {
        &self.tokens.get_or_init(Tokens::default).retired
    }

    /// Cancelled when the service's `timeouts.drain` has passed since then: what is still in flight ends now.
    pub fn cut_token(&self) -> &CancellationToken {
        &self.tokens.get_or_init(Tokens::default).cut
    }

    /// For good: an endpoint never comes back, since whoever registers again is another identity.
    pub(crate) fn retire(&self) {
        self.lanes.made();
        self.retired.store(true, Ordering::SeqCst);
    }

    pub(crate) fn turn(&self, add: i64) -> i64 {
        self.lanes.turn(add)
    }

    /// The second step of the hand-over: counts the caller in, on its own worker's cell.
    pub fn enter(self: Arc<Endpoint>) -> Entered {
        let lane = self.lanes.here();
        self.enter_on(lane)
    }

    /// As `enter`, for a health check: a hold lets it pass, and does not wait for it.
    pub(crate) fn enter_to_check(self: Arc<Endpoint>) -> Entered {
        let lane = self.lanes.checks();
        self.enter_on(lane)
    }

    fn enter_on(self: Arc<Endpoint>, lane: usize) -> Entered {
        self.lanes.enter(lane);
        Entered(InFlight {
            endpoint: self,
            lane,
            has_place: false,
            permits: Permits::default(),
        })
    }

    /// Whether one more may be in flight among `most`.
    pub fn has_room(&self, most: Option<u32>) -> bool {
        most.is_none_or(|most| self.places.load(Ordering::SeqCst) < most)
    }
}

/// Counted, but not yet allowed to send anything.
#[must_use = "dropping it undoes the step"]
pub struct Entered(InFlight);

/// What had come to the endpoint before it was entered: choose again, on the table of now.
#[derive(Debug, PartialEq, Eq)]
pub enum Overtaken {
    Retired,
    /// Its service is held.
    Held,
}

impl Entered {
    /// The third step. Counting in and setting `retired` are sequentially consistent, and each side looks at the other's
    /// word only after its own: either this sees `retired`, or whoever retires sees the count. So once an endpoint is
    /// retired and its sum has been zero, nobody is confirmed on it any more. Likewise for a hold, while it is in force.
    pub fn confirm(self) -> Result<InFlight, Overtaken> {
        match &self.0 {
            InFlight { endpoint, .. } if endpoint.is_retired() => Err(Overtaken::Retired),
            entered if entered.is_held() => Err(Overtaken::Held),
            _ => Ok(self.0),
        }
    }
}

/// Something is under way at the endpoint until this is dropped, on whatever thread: the cell that was counted up is
/// the one that is counted down.
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    lane: usize,
    has_place: bool,
    /// For as long, those of limits.
    permits: Permits,
}

/// As many are in flight at the endpoint as may.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl InFlight {
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether a hold is in force for it.
    fn is_held(&self) -> bool {
        self.endpoint.care.is_held() && self.lane != self.endpoint.lanes.checks()
    }

    /// What the request holds is held until its end, however long its answer takes.
    pub fn holding(mut self, permits: Permits) -> InFlight {
        self.permits = permits;
        self
    }

    /// Takes one of `most` places, over all workers. They are counted together, and never beyond.
    pub fn take_place(mut self, most: Option<u32>) -> Result<InFlight, Full> {
        if let Some(most) = most {
            let one_more = |taken| (taken < most).then_some(taken + 1);
            let places = &self.endpoint.places;
            let taken = places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
            taken.map_err(|_| Full)?;
            self.has_place = true;
        }
        Ok(self)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.has_place {
            self.endpoint.places.fetch_sub(1, Ordering::SeqCst);
            self.endpoint.care.queue().free_one();
        }
        self.endpoint.lanes.leave(self.lane);
        // In this order, like `confirm`: whoever retires or holds after this sees the lower count by itself.
        let is_last = || match self.endpoint.is_retired() {
            true => self.endpoint.in_flight() == 0,
            false => self.is_held() && self.endpoint.requests() == 0,
        };
        if is_last() {
            self.endpoint
                .drained
                .send_modify(|times| *times = times.wrapping_add(1));
        }
    }
}

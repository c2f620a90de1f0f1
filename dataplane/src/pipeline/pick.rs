use std::pin::pin;
use std::sync::Arc;

use shared::model::{Hold, Service, ServiceName};
use tokio::time::timeout_at;

use super::{Admitted, Verdict, balance, named};
use crate::upstream::endpoint::{Endpoint, InFlight};
use crate::upstream::trial::Trial;
use crate::view::{Reader, View};

/// Looks at the table before giving up. Each further one needs another swap between two instructions.
const LOOKS_MAX: usize = 16;

/// Endpoints that this request has been sent to already.
#[derive(Default)]
pub struct Tried {
    endpoints: Vec<Arc<Endpoint>>,
}

impl Tried {
    pub fn add(&mut self, endpoint: &Arc<Endpoint>) {
        self.endpoints.push(endpoint.clone());
    }

    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.endpoints.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    }
}

/// Where to send the request, counted there until this is dropped.
pub struct Picked {
    in_flight: InFlight,
    service: Arc<Service>,
    trial: Option<Trial>,
}

impl Picked {
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.in_flight.endpoint()
    }

    /// Whose settings the request is sent with.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The count is for whoever goes on with the request after its head: a body, a tunnel. The trial ends with the attempt.
    pub fn into_parts(self) -> (InFlight, Option<Trial>) {
        (self.in_flight, self.trial)
    }
}

/// Chooses an upstream on the view of now, at every attempt, and counts the request in: choose, enter, confirm. An
/// endpoint that was retired in between is left again, and the view of then has others; so is one whose service is held
/// since. Where the end of its lease stops the proxy, the clock is asked each time: one that was stopped itself wakes with
/// a table that nobody stands by any more.
pub fn pick(views: &Reader, admitted: &Admitted, tried: &Tried) -> Result<Picked, Verdict> {
    enter(views, tried.is_empty(), |view| {
        let chosen = choice(view, admitted, tried)?;
        // An authorizer may have named one of another service: its own limits are what counts there.
        let service = match admitted.grant().and_then(|grant| grant.target.as_ref()) {
            None => admitted.service(),
            Some(_) => view.pool(&chosen.identity().service).ok_or(Verdict::Stale)?.service(),
        };
        Ok((chosen, service.clone()))
    })
}

/// As `pick`, for what the proxy itself asks an internal service: nobody has to admit it.
pub fn pick_internal(views: &Reader, service: &ServiceName, tried: &Tried) -> Result<Picked, Verdict> {
    enter(views, tried.is_empty(), |view| {
        let pool = view.pool(service).ok_or(Verdict::NoRoute)?;
        Ok((balance::choose(pool, None, tried)?, pool.service().clone()))
    })
}

fn enter(
    views: &Reader,
    is_first: bool,
    choose: impl Fn(&View) -> Result<(Arc<Endpoint>, Arc<Service>), Verdict>,
) -> Result<Picked, Verdict> {
    for _ in 0..LOOKS_MAX {
        if !views.may_send() {
            break;
        }
        let (chosen, service) = views.with(&choose)?;
        // One that is in doubt is nobody's choice but of those who have nothing else.
        let Ok(trial) = Trial::begin(&chosen) else {
            continue;
        };
        let Ok(in_flight) = chosen.enter().confirm() else {
            continue;
        };
        if let Ok(in_flight) = in_flight.take_place(service.upstream_care.max_in_flight) {
            if is_first {
                in_flight.endpoint().care().budget().earn();
            }
            return Ok(Picked {
                in_flight,
                service,
                trial,
            });
        }
    }
    Err(Verdict::NoUpstream {
        retry_after: balance::RETRY_AFTER,
    })
}

/// As `pick`, and waits: for the end of a hold, and for a place where the service lets requests wait. What it gives is of
/// the table of then. `is_next`: its turn had come, and it had to be admitted again; others who wait are behind it.
pub async fn pick_in_turn(
    views: &Reader,
    admitted: &Admitted,
    tried: &Tried,
    is_next: bool,
) -> Result<Picked, Verdict> {
    in_turn(views, admitted.service(), is_next, || pick(views, admitted, tried)).await
}

/// As `pick_internal`, and waits as `pick_in_turn` does.
pub async fn pick_internal_in_turn(views: &Reader, service: &ServiceName, tried: &Tried) -> Result<Picked, Verdict> {
    let of_name = |view: &View| Some(view.pool(service)?.service().clone());
    let service = views.with(of_name).ok_or(Verdict::NoRoute)?;
    let pick = || pick_internal(views, &service.name, tried);
    in_turn(views, &service, false, pick).await
}

async fn in_turn(
    views: &Reader,
    service: &Service,
    is_next: bool,
    pick: impl Fn() -> Result<Picked, Verdict>,
) -> Result<Picked, Verdict> {
    match in_queue(views, service, is_next, &pick).await {
        // Hardly ever: no part of what every request carries along.
        Err(Verdict::Held) => Box::pin(outlast(views, async || in_queue(views, service, false, &pick).await)).await,
        outcome => outcome,
    }
}

/// Waits for the end of a hold, and picks again; as often as there is another one.
async fn outlast(views: &Reader, attempt: impl AsyncFn() -> Result<Picked, Verdict>) -> Result<Picked, Verdict> {
    let Some(_waiting) = views.holding().join() else {
        return Err(Verdict::Held);
    };
    // Though it be renewed again and again.
    let until = tokio::time::Instant::now() + Hold::MOST;
    loop {
        // Heard from now on, and tried after that: an end in between is not missed.
        let mut ended = pin!(views.holding().ended());
        ended.as_mut().enable();
        match attempt().await {
            Err(Verdict::Held) => {}
            outcome => return outcome,
        }
        if timeout_at(until, ended).await.is_err() {
            return Err(Verdict::Held);
        }
    }
}

async fn in_queue(
    views: &Reader,
    service: &Service,
    is_next: bool,
    pick: impl Fn() -> Result<Picked, Verdict>,
) -> Result<Picked, Verdict> {
    let care = &service.upstream_care;
    let of_service = |view: &View| Some(view.pool(&service.name)?.care().clone());
    let limited = care.max_in_flight.and_then(|_| views.with(of_service));
    let Some(shared) = limited else {
        return pick();
    };
    if is_next || shared.queue().is_empty() {
        match pick() {
            Err(Verdict::Busy) => {}
            outcome => return outcome,
        }
    }
    let most = shared.size() * care.queue as usize;
    let until = tokio::time::Instant::now() + care.queue_for;
    let attempt = || Some(pick()).filter(|outcome| !matches!(outcome, Err(Verdict::Busy)));
    let outcome = shared.queue().wait(most, until, attempt).await;
    if let Ok(Err(_)) = outcome {
        shared.queue().free_one();
    }
    outcome.unwrap_or(Err(Verdict::Busy))
}

/// The first step of the hand-over. Without the other two the endpoint may be retired before anything is sent to it.
pub fn choose(view: &View, admitted: &Admitted, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    choice(view, admitted, tried)
}

fn choice(view: &View, admitted: &Admitted, tried: &Tried) -> Result<Arc<Endpoint>, Verdict> {
    let pool = admitted.pool(view).ok_or(Verdict::Stale)?;
    match admitted.grant().and_then(|grant| grant.target.as_ref()) {
        Some(_) if pool.care().is_held() => Err(Verdict::Held),
        Some(target) => named::choose(view, target, admitted, tried),
        None => balance::choose(pool, admitted.key(), tried),
    }
}

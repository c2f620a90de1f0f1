//! Sends a request to upstreams until one has answered it.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode, Version, response};
use shared::model::Service;

use super::answer::{Answer, Lease};
use super::exchange::{Client, admit, close_after};
use super::fields;
use super::outgoing::Outgoing;
use super::quota;
use super::refusal::{self, Refusal};
use super::reply;
use super::whole::{Rest, Short};
use crate::counts::{self, Outcome};
use crate::pipeline::{Admitted, Counted, Picked, Tried, Verdict, pick_in_turn};
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::{Endpoint, InFlight};
use crate::upstream::health::Doubt;
use crate::upstream::pool::Connection;
use crate::upstream::talk::Error;

/// Changes of the service that one request bears.
const STALE_MAX: usize = 16;

/// An attempt without an answer.
struct Failure {
    refusal: Refusal,
    /// Another upstream may be asked: this one has not acted on the request, or it may be acted on twice.
    is_harmless: bool,
    /// No upstream has seen anything of it.
    is_unsent: bool,
    /// The same upstream would fail again.
    is_for_others: bool,
    /// It has to be admitted again first.
    is_stale: bool,
}

pub async fn forward(
    client: &Client,
    mut admitted: Box<Admitted>,
    mut outgoing: Outgoing,
) -> Result<Box<Response<Answer>>, Refusal> {
    let mut tried = Tried::default();
    let mut stale = 0;
    let mut has_turn = false;
    let mut failed: Option<Failure> = None;
    loop {
        // The table of now, at every attempt.
        let is_next = std::mem::take(&mut has_turn);
        let may_repeat = tried.len() < admitted.service().retries.attempts as usize;
        let picked = match pick_in_turn(&client.context.views, &admitted, &tried, is_next).await {
            Ok(picked) => picked,
            Err(Verdict::Stale) if stale < STALE_MAX => {
                stale += 1;
                has_turn = true;
                admitted = admit_again(client, &mut outgoing, admitted.into_counted()).await?;
                continue;
            }
            // That nobody is up says more than that somebody was not.
            Err(verdict) => {
                let failed = failed.filter(|failure| !failure.is_unsent);
                return Err(failed.map_or_else(|| verdict.into(), |failure| failure.refusal));
            }
        };
        let endpoint = picked.endpoint().clone();
        if let Some(failure) = failed.take() {
            let is_no_use = failure.is_for_others && tried.contains(&endpoint);
            if is_no_use || !endpoint.care().budget().spend(Instant::now()) {
                return Err(failure.refusal);
            }
        }
        client.session.record().tries(&endpoint);
        let counted = counts::Attempt::begin(&endpoint, client.context.views.counts(), Outcome::Cancelled);
        let attempted = attempt(client, &admitted, picked, &mut outgoing, may_repeat).await;
        counted.end(outcome(&attempted));
        match attempted {
            Ok(mut answer) => {
                let counted = admitted.counted();
                client.context.limits.settle(counted, answer.headers());
                quota::tell(answer.headers_mut(), counted);
                return Ok(answer);
            }
            Err(failure) if failure.is_stale && stale < STALE_MAX => {
                stale += 1;
                has_turn = true;
                client.session.awaits_nothing();
                admitted = admit_again(client, &mut outgoing, admitted.into_counted()).await?;
                continue;
            }
            Err(failure) if failure.is_harmless && may_repeat => {
                tried.add(&endpoint);
                failed = Some(failure);
            }
            Err(failure) => return Err(failure.refusal),
        }
        client.session.awaits_nothing();
    }
}

/// None: nothing was tried.
fn outcome(attempted: &Result<Box<Response<Answer>>, Failure>) -> Option<Outcome> {
    match attempted {
        Ok(answer) => Some(Outcome::of(answer.status())),
        Err(failure) if failure.is_stale => None,
        Err(failure) if failure.is_unsent => Some(Outcome::Connect),
        Err(failure) => Some(failure.refusal.outcome()),
    }
}

/// By the head as it has become: of what matches see only the fields that are this proxy's own have changed.
async fn admit_again(client: &Client, outgoing: &mut Outgoing, counted: Counted) -> Result<Box<Admitted>, Refusal> {
    outgoing.ungrant();
    let admitted = admit(client, outgoing.head(), outgoing.length(), counted).await?;
    outgoing.grant(&admitted);
    Ok(admitted)
}

async fn attempt(
    client: &Client,
    admitted: &Admitted,
    picked: Picked,
    outgoing: &mut Outgoing,
    may_repeat: bool,
) -> Result<Box<Response<Answer>>, Failure> {
    let service = admitted.service();
    let (in_flight, _trial) = picked.into_parts();
    let in_flight = Rc::new(in_flight.holding(admitted.counted().permits.clone()));
    let endpoint = in_flight.endpoint();
    // A kept connection, or a new one.
    let mut connection = match client.upstreams().take(endpoint, outgoing.is_repeatable()) {
        Some(kept) => kept,
        None => {
            let connecting = client.upstreams().connect(endpoint, service.timeouts.connect);
            let new = connecting.await.map_err(|error| unreachable(&in_flight, error))?;
            endpoint.health().connected();
            // What was true when the upstream was picked may not be any more. From this look to the hand-over nothing waits.
            if !client.context.views.with(|view| admitted.is_of(view)) {
                new.release();
                return Err(Failure::stale());
            }
            new
        }
    };
    let Some(body) = outgoing.begin(client, &in_flight, may_repeat) else {
        return Err(Failure::for_good(Verdict::Stale.into()));
    };
    let go_ahead = outgoing.go_ahead();
    let on_interim = |answer: &response::Parts| match (answer.status, &go_ahead) {
        (StatusCode::CONTINUE, Some(go_ahead)) => go_ahead.give(),
        // The client has not asked for it.
        (StatusCode::CONTINUE, None) => {}
        _ => client.wire.inform(|out| reply::write_interim(answer, out)),
    };

    // Its head and its body go, and the answer's head comes, in any order.
    client
        .session
        .awaits_answer(service.timeouts.response, service.timeouts.idle);
    let sent = {
        let sending = pin!(connection.send(outgoing.head(), body, on_interim));
        client.session.attempt(sending).await
    };
    let answer = match sent {
        Err(expired) => return Err(Failure::of_answer(endpoint, outgoing, Doubt::Answers, expired.into())),
        Ok(Err(error)) => return Err(broken(client, service, &in_flight, outgoing, &connection, &error)),
        Ok(Ok(answer)) => answer,
    };
    endpoint.health().answers();
    endpoint.care().judge(endpoint, &service.upstream_care, answer.status());
    let (head, incoming) = (*answer).into_parts();
    let mut body = Rest::from(incoming);
    if may_repeat && outgoing.is_repeatable() && body.is_short() {
        let gathered = body.gather(&client.session, &service.timeouts).await;
        gathered.map_err(|short| cut_short(client, service, endpoint, outgoing, short))?;
    }
    let wanted = outgoing.wants_upgrade().then_some(service.timeouts.idle);
    let lease = Lease::new(connection, in_flight, !outgoing.is_withheld());
    relay(client, head, body, lease, wanted).map_err(Failure::for_good)
}

impl Failure {
    fn for_good(refusal: Refusal) -> Failure {
        Failure {
            refusal,
            is_harmless: false,
            is_unsent: false,
            is_for_others: false,
            is_stale: false,
        }
    }

    fn stale() -> Failure {
        Failure {
            is_stale: true,
            ..Failure::for_good(Verdict::Stale.into())
        }
    }

    fn unsent(refusal: Refusal) -> Failure {
        Failure {
            refusal,
            is_harmless: true,
            is_unsent: true,
            is_for_others: false,
            is_stale: false,
        }
    }

    /// The upstream took the request, and what it made of it is no answer.
    fn of_answer(endpoint: &Arc<Endpoint>, outgoing: &Outgoing, doubt: Doubt, refusal: Refusal) -> Failure {
        endpoint.care().suspend(endpoint, doubt, Instant::now());
        Failure {
            refusal,
            is_harmless: outgoing.is_repeatable(),
            is_unsent: false,
            is_for_others: true,
            is_stale: false,
        }
    }
}

fn unreachable(in_flight: &InFlight, error: ConnectError) -> Failure {
    let endpoint = in_flight.endpoint();
    if error.is_of_upstream() {
        endpoint.health().failed(Instant::now());
    }
    tracing::debug!(upstream = %endpoint.identity().address, %error, "no connection");
    Failure::unsent(match error {
        ConnectError::TimedOut => Verdict::UpstreamTimeout.into(),
        error => Refusal::upstream_failed(error.to_string()),
    })
}

/// The connection ended, or was ended, before the answer's head was complete.
fn broken(
    client: &Client,
    service: &Service,
    in_flight: &InFlight,
    outgoing: &Outgoing,
    connection: &Connection,
    error: &Error,
) -> Failure {
    let endpoint = in_flight.endpoint();
    tracing::debug!(upstream = %endpoint.identity().address, %error, "no answer");
    if let Some(refusal) = blameless(client, service, endpoint) {
        return Failure::for_good(refusal);
    }
    if error.is_malformed() {
        let refusal = Refusal::upstream_failed("the upstream's answer is not valid HTTP");
        return Failure::of_answer(endpoint, outgoing, Doubt::Answers, refusal);
    }
    if connection.is_heard() {
        let refusal = Refusal::upstream_failed("the upstream's answer ended within its head");
        return Failure::of_answer(endpoint, outgoing, Doubt::Answers, refusal);
    }
    // A kept connection's end says nothing of the server but that it keeps them for a shorter time.
    if !connection.is_kept() {
        endpoint.health().reset(Instant::now());
    }
    Failure {
        refusal: Refusal::upstream_failed("the upstream closed the connection without an answer"),
        is_harmless: outgoing.is_repeatable(),
        is_unsent: false,
        is_for_others: false,
        is_stale: false,
    }
}

/// The answer ended, or was ended, within a body that nothing of has gone on yet.
fn cut_short(
    client: &Client,
    service: &Service,
    endpoint: &Arc<Endpoint>,
    outgoing: &Outgoing,
    short: Short,
) -> Failure {
    if let Some(refusal) = blameless(client, service, endpoint) {
        return Failure::for_good(refusal);
    }
    let refusal = match short {
        Short::Expired(expired) => expired.into(),
        Short::Ended => Refusal::upstream_failed("the upstream's answer ended within its body"),
    };
    Failure::of_answer(endpoint, outgoing, Doubt::Completes, refusal)
}

/// What ended an exchange, if that was not the upstream.
fn blameless(client: &Client, service: &Service, endpoint: &Endpoint) -> Option<Refusal> {
    if let Some(fault) = client.session.fault() {
        return Some(refusal::of_fault(fault, service.max_body));
    }
    let is_cut = endpoint.cut_token().is_cancelled();
    is_cut.then(|| Refusal::upstream_failed("the upstream was unregistered, and its time is over"))
}

/// The answer as the client is to see it. `wanted`: the client has asked for another protocol, in which nobody may be silent for
/// longer.
fn relay(
    client: &Client,
    mut head: response::Parts,
    body: Rest,
    lease: Lease,
    wanted: Option<Duration>,
) -> Result<Box<Response<Answer>>, Refusal> {
    let hop = fields::take_hop_by_hop(&mut head.headers);
    if let Some(seconds) = hop.keep_alive {
        lease.connection().keep_for(Duration::from_secs(seconds));
    }
    head.version = Version::HTTP_11;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let unasked = || Refusal::upstream_failed("the upstream switched protocols unasked");
        let (Some(idle), Some(upgrade)) = (wanted, hop.upgrade) else {
            return Err(unasked());
        };
        head.headers.insert(header::UPGRADE, upgrade);
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let tunnel = lease.hand_over(body.into_incoming(), idle);
        client.session.set_tunnel(tunnel.ok_or_else(unasked)?);
        let nothing = Answer::own(bytes::Bytes::new(), client.session.clone());
        return Ok(Box::new(Response::from_parts(head, nothing)));
    }
    let is_withheld = !lease.is_reusable();
    let body = Answer::relayed(body, lease, client.session.clone());
    let mut answer = Box::new(Response::from_parts(head, body));
    if is_withheld {
        // The client may send its body after all, and there is nobody to take it.
        close_after(&mut answer);
    }
    Ok(answer)
}

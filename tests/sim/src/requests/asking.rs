//! Leave for requests: what is remembered, and calls of the authorization server, which take their time.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use dataplane::authorizer::{Answer, Asked, Grant, Joining, Known, Landing, Memory, Outcome, Stamp, Understood};
use dataplane::limiter::Limiter;
use dataplane::pipeline::{
    Admitted, Authorizers, Counted, Credentials, Given, Protocol, RequestMeta, Routed, Verdict, authorize, limit, route,
};
use dataplane::view::View;
use futures_util::future::LocalBoxFuture;
use http::HeaderValue;
use shared::model::TokenHash;

use super::Stage;
use crate::dice::{MICRO, MILLI, SECOND};
use crate::guard::{User, name_of};
use crate::world::{Actor, World};

/// As many calls as a request waits for.
const CALLS_MAX: usize = 3;

/// Everything between the route and the pick, as far as it has come.
pub struct Admitting(LocalBoxFuture<'static, Result<Admitted, Verdict>>);

/// A proxy's way to the server: as the desk of a worker, but that calls are made by the world.
struct Desk {
    user: Option<User>,
    memory: Arc<Memory>,
    limiter: Arc<Limiter>,
    clock: Rc<Cell<Instant>>,
    calls: Rc<RefCell<Vec<Call>>>,
}

/// One that has just been begun.
pub struct Call {
    landing: Landing,
    user: User,
    ttl: Duration,
    stale: Duration,
}

fn meta<'a>(host: &'a str, user: Option<User>) -> RequestMeta<'a> {
    RequestMeta {
        client: [127, 0, 0, 1].into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host,
        path: "/",
        uri: "/",
        headers: &(),
        fields: None,
        length: None,
        account: None,
        credentials: user.map(|user| Credentials {
            username: name_of(user).into(),
            password: "secret".into(),
        }),
    }
}

impl Authorizers for Desk {
    async fn ask(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Result<Given, Verdict> {
        let key = self.memory.key(asked, meta);
        let given = |answer: &Arc<Answer>, stamp: Stamp| {
            let answer = answer.clone();
            Ok(Given { answer, stamp })
        };
        let stale = match self.memory.look(key, asked, self.clock.get(), &self.limiter) {
            Known::Fresh(entry) => return given(&entry.answer, asked.stamp()),
            Known::Ending(entry) => {
                if let Joining::Begun(landing) = self.memory.join(key, asked.stamp()) {
                    self.begin(landing, asked);
                }
                return given(&entry.answer, asked.stamp());
            }
            Known::Stale(entry) => Some(entry),
            Known::Nothing => None,
        };
        for _ in 0..CALLS_MAX {
            let mut outcome = match self.memory.join(key, asked.stamp()) {
                Joining::Begun(landing) => self.begin(landing, asked),
                Joining::Waits(outcome) => outcome,
                Joining::Full => break,
            };
            let outcome = match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                Ok(None) | Err(_) => Outcome::Lost,
            };
            match outcome {
                Outcome::Said { answer, stamp, .. } => return given(&answer, stamp),
                Outcome::Failed => break,
                Outcome::Lost => {}
            }
        }
        let entry = stale.ok_or(Verdict::AuthorizerUnavailable {
            retry_after: Duration::from_secs(1),
        })?;
        entry.spare(self.clock.get());
        given(&entry.answer, asked.stamp())
    }
}

impl Desk {
    fn begin(&self, landing: Landing, asked: &Asked) -> tokio::sync::watch::Receiver<Option<Outcome>> {
        let outcome = landing.outcome();
        let cache = &asked.authority.authorizer.cache;
        self.calls.borrow_mut().push(Call {
            landing,
            user: self.user.expect("who is nobody is not asked for"),
            ttl: cache.ttl,
            stale: cache.stale,
        });
        outcome
    }
}

async fn admit(routed: Routed, host: String, desk: Desk) -> Result<Admitted, Verdict> {
    let meta = meta(&host, desk.user);
    let authorized = authorize(routed, &meta, &desk).await?;
    limit(authorized, &meta, &(), Counted::default()).await
}

impl World {
    /// From the beginning, on the table of now.
    pub(super) fn ask_leave(&mut self, i: usize, number: u64) {
        let Some(run) = self.proxies[i].run.as_mut() else {
            return;
        };
        let Some(request) = run.requests.get_mut(&number) else {
            return;
        };
        let host = format!("{}.test", request.service);
        let routed = run.readers[request.worker].with(|view: &View| route(view, &meta(&host, request.user)));
        let Ok(routed) = routed else {
            self.count.add("requests without a route");
            return self.end(i, number);
        };
        let desk = Desk {
            user: request.user,
            memory: run.memory.clone(),
            limiter: run.readers[request.worker].limiter().clone(),
            clock: self.guard.clock.clone(),
            calls: run.calls.clone(),
        };
        request.stage = Stage::Asking(Admitting(Box::pin(admit(routed, host, desk))));
        self.hear(i, number);
        self.make_calls(i);
    }

    /// What it has come to by now.
    fn hear(&mut self, i: usize, number: u64) {
        self.guard.clock.set(self.origin + Duration::from_nanos(self.now));
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        let Stage::Asking(Admitting(admitting)) = &mut request.stage else {
            return;
        };
        let Poll::Ready(outcome) = Pin::new(admitting).poll(&mut Context::from_waker(Waker::noop())) else {
            return;
        };
        request.stage = Stage::Between;
        match outcome {
            Ok(admitted) => request.admitted = Some(admitted),
            Err(_) => {
                self.count.add("requests without leave");
                return self.end(i, number);
            }
        }
        match request.user {
            None => self.look(i, number),
            // It may have to wait for a place.
            Some(_) => {
                let gap = self.guard.dice.step_gap();
                self.after(Actor::Proxy(i), gap, move |world| world.look(i, number));
            }
        }
    }

    fn make_calls(&mut self, i: usize) {
        let calls = self.proxies[i].run.as_ref().map(|run| run.calls.take());
        for call in calls.into_iter().flatten() {
            self.count.add("calls of the authorization server");
            let way = self.call_way();
            self.after(Actor::Proxy(i), way, move |world| world.decide_leave(i, call));
        }
    }

    fn call_way(&mut self) -> u64 {
        let dice = &mut self.guard.dice;
        match dice.below(100) {
            0..70 => dice.between(100 * MICRO, 5 * MILLI),
            70..95 => dice.between(5 * MILLI, 300 * MILLI),
            _ => dice.between(300 * MILLI, 3 * SECOND),
        }
    }

    /// The server says what is so at this moment; the proxy hears of it later, if it does.
    fn decide_leave(&mut self, i: usize, call: Call) {
        let token = self.guard.token(call.user);
        let (way, fate) = (self.call_way(), self.guard.dice.below(100));
        self.after(Actor::Proxy(i), way, move |world| {
            match fate {
                0..5 => drop(call.landing),
                5..15 => call.landing.failed(),
                _ => world.land(call, &token),
            }
            world.hear_all(i);
        });
    }

    fn land(&mut self, call: Call, token: &str) {
        if self.guard.token(call.user) != token {
            self.count.add("answers from before a revocation");
        }
        let grant = Grant {
            auth_token: HeaderValue::from_str(token).ok(),
            ..Grant::default()
        };
        let understood = Understood {
            answer: Answer::Granted(grant),
            token: TokenHash::of(token),
            ttl: call.ttl,
            is_private: false,
        };
        let now = self.origin + Duration::from_nanos(self.now);
        call.landing
            .said(understood, name_of(call.user).into(), call.stale, now);
    }

    fn hear_all(&mut self, i: usize) {
        let Some(run) = &self.proxies[i].run else { return };
        let asking = run
            .requests
            .iter()
            .filter(|(_, request)| matches!(request.stage, Stage::Asking(_)));
        let asking: Vec<u64> = asking.map(|(number, _)| *number).collect();
        for number in asking {
            self.hear(i, number);
        }
        self.make_calls(i);
    }
}

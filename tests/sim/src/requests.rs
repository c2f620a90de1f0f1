//! Requests on the workers, step by step: whatever can happen between two steps of the hand-over happens some time.

use std::sync::Arc;

use dataplane::pipeline::{Admitted, Protocol, RequestMeta, Tried, Verdict, authorize, choose, limit, route};
use dataplane::upstream::endpoint::{Endpoint, Entered, InFlight, Overtaken};
use dataplane::upstream::inflight::count_as_worker;
use dataplane::view::View;
use futures_util::FutureExt;

use crate::clients::SERVICES;
use crate::dice::{MICRO, MILLI, SECOND};
use crate::proxy::WORKERS;
use crate::world::{Actor, World};

/// As many as `pick` allows itself.
const LOOKS_MAX: u8 = 16;

pub struct Request {
    /// On whose cell it counts; the last is nobody's.
    worker: usize,
    admitted: Admitted,
    tried: Tried,
    looks: u8,
    again: bool,
    /// Has met a hold, and looks again until there is none.
    waits: bool,
    stage: Stage,
}

enum Stage {
    Between,
    Chosen(Arc<Endpoint>),
    Entered(Entered),
    Sent(InFlight),
}

impl Request {
    pub fn is_counted(&self) -> bool {
        matches!(self.stage, Stage::Entered(_) | Stage::Sent(_))
    }

    /// Answers whether it did already. Whatever it meets then is another pick.
    pub fn wait(&mut self) -> bool {
        self.looks = 0;
        std::mem::replace(&mut self.waits, true)
    }

    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Where it is under way, once it is.
    pub fn sent_to(&self) -> Option<&Arc<Endpoint>> {
        match &self.stage {
            Stage::Sent(in_flight) => Some(in_flight.endpoint()),
            _ => None,
        }
    }
}

impl World {
    fn step_gap(&mut self) -> u64 {
        match self.dice.below(100) {
            0..75 => self.dice.below(50 * MICRO),
            75..92 => self.dice.below(20 * MILLI),
            _ => self.dice.below(3 * SECOND),
        }
    }

    pub fn next_request(&mut self, i: usize) {
        if self.clients.quiet {
            return;
        }
        let pause = self.dice.below(2 * self.clients.between_requests);
        self.after(Actor::Proxy(i), pause, move |world| {
            world.request(i);
            world.next_request(i);
        });
    }

    fn request(&mut self, i: usize) {
        let worker = self.dice.index(WORKERS + 1);
        let service = self.dice.one(&SERVICES);
        let Some(run) = self.proxies[i].run.as_mut().filter(|run| run.listening) else {
            return;
        };
        let admitted = run.readers[worker].with(|view| admit(view, service));
        let Ok(admitted) = admitted else {
            self.count.add("requests without a route");
            return;
        };
        run.last_request += 1;
        let number = run.last_request;
        run.requests.insert(
            number,
            Request {
                worker,
                admitted,
                tried: Tried::default(),
                looks: 0,
                again: self.dice.percent(10),
                waits: false,
                stage: Stage::Between,
            },
        );
        self.look(i, number);
    }

    pub fn look(&mut self, i: usize, number: u64) {
        let Some(run) = self.proxies[i].run.as_mut() else {
            return;
        };
        let Some(request) = run.requests.get_mut(&number) else {
            return;
        };
        count_as_worker(request.worker);
        request.looks += 1;
        let reader = &run.readers[request.worker];
        let mut chosen = reader.with(|view| choose(view, &request.admitted, &request.tried));
        if let Err(Verdict::Stale) = chosen {
            let service = request.admitted.service().name.clone();
            if let Ok(admitted) = reader.with(|view| admit(view, service.as_str())) {
                request.admitted = admitted;
                chosen = reader.with(|view| choose(view, &request.admitted, &request.tried));
            }
        }
        match chosen {
            Err(Verdict::Held) => return self.wait_for_resumption(i, number),
            Ok(endpoint) if request.looks <= LOOKS_MAX => {
                request.stage = Stage::Chosen(endpoint);
                if std::mem::take(&mut request.waits) {
                    self.count.add("requests that went on after a hold");
                }
            }
            _ => {
                self.count.add("requests without an upstream");
                return self.end(i, number);
            }
        }
        let gap = self.step_gap();
        self.after(Actor::Proxy(i), gap, move |world| world.enter(i, number));
    }

    fn enter(&mut self, i: usize, number: u64) {
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        count_as_worker(request.worker);
        if let Stage::Chosen(endpoint) = std::mem::replace(&mut request.stage, Stage::Between) {
            request.stage = Stage::Entered(endpoint.enter());
        }
        let gap = self.step_gap();
        self.after(Actor::Proxy(i), gap, move |world| world.confirm(i, number));
    }

    fn confirm(&mut self, i: usize, number: u64) {
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        count_as_worker(request.worker);
        let Stage::Entered(entered) = std::mem::replace(&mut request.stage, Stage::Between) else {
            return;
        };
        match entered.confirm() {
            Ok(in_flight) => {
                let identity = in_flight.endpoint().identity().clone();
                request.stage = Stage::Sent(in_flight);
                self.count.add("requests sent");
                self.check_reached(i, &identity);
                let time = match self.dice.below(100) {
                    0..70 => self.dice.between(MILLI, 300 * MILLI),
                    70..95 => self.dice.between(300 * MILLI, 6 * SECOND),
                    _ => self.dice.between(6 * SECOND, 30 * SECOND),
                };
                self.after(Actor::Proxy(i), time, move |world| world.answered(i, number));
            }
            Err(overtaken) => {
                self.count.add(match overtaken {
                    Overtaken::Retired => "picks undone by a retirement",
                    Overtaken::Held => "picks undone by a hold",
                });
                self.look(i, number);
            }
        }
        self.look_at_drains(i);
    }

    fn answered(&mut self, i: usize, number: u64) {
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        if !std::mem::take(&mut request.again) {
            return self.end(i, number);
        }
        if let Stage::Sent(in_flight) = std::mem::replace(&mut request.stage, Stage::Between) {
            request.tried.add(in_flight.endpoint());
        }
        request.looks = 0;
        self.count.add("retries");
        self.look_at_drains(i);
        self.look(i, number);
    }

    fn request_of(&mut self, i: usize, number: u64) -> Option<&mut Request> {
        self.proxies[i].run.as_mut()?.requests.get_mut(&number)
    }

    fn end(&mut self, i: usize, number: u64) {
        if let Some(run) = &mut self.proxies[i].run {
            run.requests.remove(&number);
        }
        self.look_at_drains(i);
    }

    /// Those whose upstream has been draining for too long.
    pub fn drop_cut(&mut self, i: usize) {
        let Some(run) = &mut self.proxies[i].run else { return };
        let before = run.requests.len();
        run.requests.retain(|_, request| {
            request
                .sent_to()
                .is_none_or(|endpoint| !endpoint.cut_token().is_cancelled())
        });
        if run.requests.len() < before {
            self.count.add("drains cut");
            self.look_at_drains(i);
        }
    }

    pub fn drop_requests(&mut self, i: usize) {
        if let Some(run) = &mut self.proxies[i].run {
            run.requests.clear();
        }
        self.look_at_drains(i);
    }
}

/// Everything before the pick.
fn admit(view: &View, service: &str) -> Result<Admitted, Verdict> {
    let host = format!("{service}.test");
    let meta = RequestMeta {
        client: [127, 0, 0, 1].into(),
        protocol: Protocol::Http,
        scheme: "http",
        method: "GET",
        host: &host,
        path: "/",
        uri: "/",
        headers: &(),
        fields: None,
        length: None,
        credentials: None,
    };
    let ready = "the steps do not wait yet";
    let authorized = authorize(route(view, &meta)?, &meta, &())
        .now_or_never()
        .expect(ready)?;
    limit(authorized, &meta).now_or_never().expect(ready)
}

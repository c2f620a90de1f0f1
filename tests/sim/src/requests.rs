//! Requests on the workers, step by step: whatever can happen between two steps of the hand-over happens some time.

mod asking;

use std::sync::Arc;

use dataplane::pipeline::{Admitted, Tried, Verdict, choose};
use dataplane::upstream::endpoint::{Endpoint, Entered, InFlight, Overtaken};
use dataplane::upstream::inflight::count_as_worker;

use crate::clients::SERVICES;
use crate::dice::{Dice, MICRO, MILLI, SECOND};
use crate::guard::{GUARDED, User};
use crate::proxy::WORKERS;
use crate::world::{Actor, World};

use self::asking::Admitting;
pub use self::asking::Call;

/// As many as `pick` allows itself.
const LOOKS_MAX: u8 = 16;

pub struct Request {
    /// On whose cell it counts; the last is nobody's.
    worker: usize,
    service: &'static str,
    /// Who makes it, where that is asked.
    user: Option<User>,
    admitted: Option<Admitted>,
    tried: Tried,
    looks: u8,
    /// Which of the proxy's tables it looked at last.
    looked_at: u64,
    again: bool,
    /// Has met a hold, and looks again until there is none.
    waits: bool,
    stage: Stage,
}

enum Stage {
    Asking(Admitting),
    Between,
    Chosen(Arc<Endpoint>),
    Entered(Entered),
    /// Its head is on its way to the socket.
    Leaving(InFlight),
    Sent(InFlight),
}

impl Request {
    fn new(dice: &mut Dice, service: &'static str, user: Option<User>) -> Request {
        Request {
            worker: dice.index(WORKERS + 1),
            service,
            user,
            admitted: None,
            tried: Tried::default(),
            looks: 0,
            looked_at: 0,
            again: dice.percent(10),
            waits: false,
            stage: Stage::Between,
        }
    }

    pub fn is_counted(&self) -> bool {
        matches!(self.stage, Stage::Entered(_) | Stage::Leaving(_) | Stage::Sent(_))
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
            Stage::Leaving(in_flight) | Stage::Sent(in_flight) => Some(in_flight.endpoint()),
            _ => None,
        }
    }

    /// Whether it may be sent yet by what it saw in a table before that one.
    pub fn is_leaving(&self, table: u64) -> bool {
        let is_between = matches!(self.stage, Stage::Chosen(_) | Stage::Entered(_) | Stage::Leaving(_));
        is_between && self.looked_at < table
    }
}

impl Dice {
    fn step_gap(&mut self) -> u64 {
        match self.below(100) {
            0..75 => self.below(50 * MICRO),
            75..92 => self.below(20 * MILLI),
            _ => self.below(3 * SECOND),
        }
    }

    fn answer_time(&mut self) -> u64 {
        match self.below(100) {
            0..70 => self.between(MILLI, 300 * MILLI),
            70..95 => self.between(300 * MILLI, 6 * SECOND),
            _ => self.between(6 * SECOND, 30 * SECOND),
        }
    }
}

impl World {
    pub fn next_request(&mut self, i: usize) {
        if self.clients.quiet {
            return;
        }
        let pause = self.dice.below(2 * self.clients.between_requests);
        self.after(Actor::Proxy(i), pause, move |world| {
            let service = world.dice.one(&SERVICES);
            let request = Request::new(&mut world.dice, service, None);
            world.request(i, request);
            world.next_request(i);
        });
    }

    pub fn next_guarded_request(&mut self, i: usize) {
        if self.clients.quiet || !self.guard.is_there() {
            return;
        }
        let pause = self.guard.dice.below(4 * self.clients.between_requests);
        self.after(Actor::Proxy(i), pause, move |world| {
            let user = world.guard.some_user();
            let request = Request::new(&mut world.guard.dice, GUARDED, Some(user));
            world.request(i, request);
            world.next_guarded_request(i);
        });
    }

    fn request(&mut self, i: usize, request: Request) {
        let Some(run) = self.proxies[i].run.as_mut().filter(|run| run.listening) else {
            return;
        };
        run.last_request += 1;
        let number = run.last_request;
        run.requests.insert(number, request);
        self.ask_leave(i, number);
    }

    pub fn look(&mut self, i: usize, number: u64) {
        let Some(run) = self.proxies[i].run.as_mut() else {
            return;
        };
        let Some(request) = run.requests.get_mut(&number) else {
            return;
        };
        let Some(admitted) = &request.admitted else { return };
        count_as_worker(request.worker);
        request.looks += 1;
        request.looked_at = run.swaps;
        let chosen = run.readers[request.worker].with(|view| choose(view, admitted, &request.tried));
        match chosen {
            Err(Verdict::Held) => return self.wait_for_resumption(i, number),
            Ok(endpoint) if request.looks <= LOOKS_MAX => {
                request.stage = Stage::Chosen(endpoint);
                if std::mem::take(&mut request.waits) {
                    self.count.add("requests that went on after a hold");
                }
            }
            Err(Verdict::Stale) if request.looks <= LOOKS_MAX => {
                self.count.add(match request.user {
                    Some(_) => "guarded requests that had to ask again",
                    None => "requests that had to be admitted again",
                });
                return self.ask_leave(i, number);
            }
            _ => {
                self.count.add("requests without an upstream");
                return self.end(i, number);
            }
        }
        let gap = self.dice_of(i, number).step_gap();
        self.after(Actor::Proxy(i), gap, move |world| world.enter(i, number));
        self.pass(i);
    }

    fn enter(&mut self, i: usize, number: u64) {
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        count_as_worker(request.worker);
        if let Stage::Chosen(endpoint) = std::mem::replace(&mut request.stage, Stage::Between) {
            request.stage = Stage::Entered(endpoint.enter());
        }
        let gap = self.dice_of(i, number).step_gap();
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
                let is_guarded = request.user.is_some();
                request.stage = Stage::Leaving(in_flight);
                self.count.add("requests sent");
                self.check_reached(i, &identity);
                match is_guarded {
                    true => {
                        let gap = self.guard.dice.step_gap();
                        self.after(Actor::Proxy(i), gap, move |world| world.depart(i, number));
                    }
                    false => self.depart(i, number),
                }
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

    /// Its head is written.
    fn depart(&mut self, i: usize, number: u64) {
        let Some(request) = self.request_of(i, number) else {
            return;
        };
        if let Stage::Leaving(in_flight) = std::mem::replace(&mut request.stage, Stage::Between) {
            request.stage = Stage::Sent(in_flight);
        }
        if let Some(user) = request.user {
            let grant = request.admitted.as_ref().and_then(Admitted::grant);
            let token = grant.and_then(|grant| grant.auth_token.clone());
            self.count.add("guarded requests sent");
            self.check_leave(i, user, token.as_ref().and_then(|token| token.to_str().ok()));
        }
        self.pass(i);
        let time = self.dice_of(i, number).answer_time();
        self.after(Actor::Proxy(i), time, move |world| world.answered(i, number));
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

    /// What is guarded has its own.
    fn dice_of(&mut self, i: usize, number: u64) -> &mut Dice {
        let is_guarded = self.request_of(i, number).is_some_and(|request| request.user.is_some());
        if is_guarded {
            &mut self.guard.dice
        } else {
            &mut self.dice
        }
    }

    fn end(&mut self, i: usize, number: u64) {
        if let Some(run) = &mut self.proxies[i].run {
            run.requests.remove(&number);
        }
        self.pass(i);
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
            self.pass(i);
            self.look_at_drains(i);
        }
    }

    pub fn drop_requests(&mut self, i: usize) {
        if let Some(run) = &mut self.proxies[i].run {
            run.requests.clear();
        }
        self.pass(i);
        self.look_at_drains(i);
    }
}

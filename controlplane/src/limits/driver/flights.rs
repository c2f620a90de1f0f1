//! Questions of how many are in flight: proxies say so when it matters to the owner, and when they are asked.

use std::time::Duration;

use shared::quota::AccountId;
use shared::quota::owner::{InFlight, Input};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Driver;
use crate::limits::asking::{Answer, QUESTIONS_MAX};

/// Proxies answer within a round trip.
const ANSWERED_WITHIN: Duration = Duration::from_millis(80);

/// Those that wait for the proxies' answers, the oldest first.
#[derive(Default)]
pub struct Flights(Vec<Flight>);

struct Flight {
    account: AccountId,
    until: Instant,
    answer: oneshot::Sender<Answer<InFlight>>,
}

impl Driver {
    pub(super) fn ask_in_flight(&mut self, account: AccountId, answer: oneshot::Sender<Answer<InFlight>>) {
        let owner = self.owner.as_mut().filter(|_| self.flights.0.len() < QUESTIONS_MAX);
        let Some(owner) = owner.filter(|owner| owner.in_flight(&account).is_some()) else {
            // Whoever asked may not wait any more.
            let _ = answer.send(self.elsewhere());
            return;
        };
        owner.ask_in_flight(account);
        self.input(Input::Tick);
        self.flights.0.push(Flight {
            account,
            until: Instant::now() + ANSWERED_WITHIN,
            answer,
        });
    }

    pub(super) fn finish_flights(&mut self) {
        let now = Instant::now();
        let over: Vec<Flight> = self.flights.0.extract_if(.., |flight| now >= flight.until).collect();
        for Flight { account, answer, .. } in over {
            let in_flight = self.owner.as_ref().and_then(|owner| owner.in_flight(&account));
            let _ = answer.send(in_flight.map_or_else(|| self.elsewhere(), Answer::Here));
        }
    }
}

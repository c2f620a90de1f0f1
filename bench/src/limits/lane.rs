//! What is offered: lanes of requests, each under a limit of its own, by three callers.

use std::time::Duration;

pub const CALLERS: usize = 3;
pub const PERIOD: Duration = Duration::from_secs(10);

/// A connection asks at most so often a second.
const PER_CONNECTION: f64 = 50.0;
/// How long one caller has a moving load.
const STAY: Duration = Duration::from_millis(3_700);
/// How long a pulse lasts, and from when to when: ends of fixed periods fall into some of them.
const PULSE: Duration = Duration::from_secs(4);
const PULSES: Duration = Duration::from_secs(9);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sliding,
    Fixed,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sliding => "sliding",
            Algorithm::Fixed => "fixed",
        }
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Even,
    /// Sixteen, three and one of twenty.
    Unbalanced,
    One,
    /// All of it by one caller, then by the next.
    Moving,
    /// For some seconds, and again after a pause.
    Pulses,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Shape::Even => "even",
            Shape::Unbalanced => "16 : 3 : 1",
            Shape::One => "all on one",
            Shape::Moving => "moving",
            Shape::Pulses => "pulses",
        }
    }

    fn share(self, caller: usize) -> f64 {
        match self {
            Shape::Even | Shape::Pulses => 1.0 / CALLERS as f64,
            Shape::Unbalanced => [0.8, 0.15, 0.05][caller],
            Shape::One => [1.0, 0.0, 0.0][caller],
            Shape::Moving => 1.0,
        }
    }

    /// `at`: since the beginning.
    pub fn is_on(self, caller: usize, at: Duration) -> bool {
        match self {
            Shape::Moving => at.as_nanos() / STAY.as_nanos() % CALLERS as u128 == caller as u128,
            Shape::Pulses => at.as_nanos() % PULSES.as_nanos() < PULSE.as_nanos(),
            Shape::Even | Shape::Unbalanced | Shape::One => true,
        }
    }
}

/// Requests that count for one limit, or for none.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// In [`PERIOD`], each token.
    pub limit: Option<(u64, Algorithm)>,
    pub tokens: usize,
    /// A second, of all tokens and callers, while it is on.
    pub rate: f64,
    pub shape: Shape,
}

/// One connection, which asks for one token of one lane, again and again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    pub lane: usize,
    pub token: usize,
    pub caller: usize,
    pub every: Duration,
    pub offset: Duration,
}

pub fn clients(lanes: &[Lane]) -> Vec<Client> {
    let mut clients = Vec::new();
    for (n, lane) in lanes.iter().enumerate() {
        for caller in 0..CALLERS {
            let rate = lane.rate * lane.shape.share(caller) / lane.tokens as f64;
            if rate == 0.0 {
                continue;
            }
            let connections = (rate / PER_CONNECTION).ceil();
            let every = Duration::from_secs_f64(connections / rate);
            for token in 0..lane.tokens {
                for connection in 0..connections as usize {
                    // They do not ask in step.
                    let phase =
                        connection as f64 / connections + (token * CALLERS + caller) as f64 / 7.3 + n as f64 / 3.1;
                    clients.push(Client {
                        lane: n,
                        token,
                        caller,
                        every,
                        offset: every.mul_f64(phase.fract()),
                    });
                }
            }
        }
    }
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_offer_what_the_lane_says() {
        for (shape, tokens, rate) in [
            (Shape::Even, 1, 7_500.0),
            (Shape::Unbalanced, 50, 750.0),
            (Shape::One, 1, 20.0),
            (Shape::Moving, 1, 300.0),
        ] {
            let lane = Lane {
                limit: None,
                tokens,
                rate,
                shape,
            };
            let at_once = clients(&[lane])
                .into_iter()
                .filter(|client| shape.is_on(client.caller, Duration::ZERO));
            let offered: f64 = at_once.map(|client| 1.0 / client.every.as_secs_f64()).sum();
            assert!((offered / rate - 1.0).abs() < 1e-6, "{shape:?}: {offered}");
        }
    }

    #[test]
    fn a_moving_load_is_at_one_caller() {
        for tenth in 0..300 {
            let at = Duration::from_millis(tenth * 100);
            let on = (0..CALLERS).filter(|caller| Shape::Moving.is_on(*caller, at));
            assert_eq!(on.count(), 1);
        }
    }
}

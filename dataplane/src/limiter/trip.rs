//! How long a question takes to an owner and back, and how long an answer is worth waiting for.

use std::time::Duration;

use shared::quota::{Said, Up};
use shared::time::Time;
use uuid::Uuid;

/// A question that was not answered for so long never will be: its owner is gone.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Smoothed, with its mean deviation, as RFC 6298 does it for what is sent again.
#[derive(Default)]
pub(super) struct RoundTrip {
    /// A message that is to be answered: to whom, its number, and when it was sent.
    probe: Option<(Uuid, u64, Time)>,
    /// None: nothing was measured yet.
    measured: Option<Measured>,
}

#[derive(Clone, Copy)]
struct Measured {
    mean: Duration,
    deviation: Duration,
}

impl RoundTrip {
    pub fn sent(&mut self, up: &Up, now: Time) {
        let is_asking = up.items.iter().any(|said| matches!(said, Said::Want(_)));
        let is_free = self.probe.is_none_or(|(_, _, sent)| now.since(sent) > LOST_AFTER);
        if is_asking && is_free {
            self.probe = Some((up.to, up.number, now));
        }
    }

    /// The owner has read that message.
    pub fn heard(&mut self, owner: Uuid, number: u64, now: Time) {
        let Some((to, probe, sent)) = self.probe else { return };
        if to != owner || number < probe {
            return;
        }
        self.probe = None;
        let took = now.since(sent);
        self.measured = Some(match self.measured {
            None => Measured {
                mean: took,
                deviation: took / 2,
            },
            Some(Measured { mean, deviation }) => Measured {
                deviation: (deviation * 3 + mean.abs_diff(took)) / 4,
                mean: (mean * 7 + took) / 8,
            },
        });
    }

    /// None where nothing is known: the deviation alone is little where answers are even, until one is not. A question that is still open shows that it takes as long as that, at the least.
    pub fn patience(&self, now: Time) -> Option<Duration> {
        let Measured { mean, deviation } = self.measured?;
        let open = self.probe.map_or(Duration::ZERO, |(_, _, sent)| now.since(sent));
        Some((mean + deviation * 4).max(mean * 4).max(open * 2))
    }
}

#[cfg(test)]
mod tests {
    use shared::change::Revision;
    use shared::quota::{AccountId, ProxyId, Want};

    use super::*;

    const OWNER: Uuid = Uuid::from_u128(7);

    fn up(number: u64) -> Up {
        Up {
            from: ProxyId {
                instance: Uuid::nil(),
                boot: 1,
            },
            to: OWNER,
            number,
            heard: 0,
            revision: Revision::ZERO,
            items: vec![Said::Want(Want {
                account: AccountId::of(Uuid::nil(), b""),
                queued: 1,
                rate: 1,
            })],
        }
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn after(trip: &RoundTrip, millis: u64) -> Option<u128> {
        trip.patience(at(millis)).map(|patience| patience.as_millis())
    }

    #[test]
    fn what_is_waited_for_follows_what_it_took() {
        let mut trip = RoundTrip::default();
        assert_eq!(after(&trip, 0), None);
        trip.sent(&up(1), at(0));
        trip.heard(OWNER, 0, at(10));
        trip.heard(Uuid::nil(), 1, at(20));
        assert_eq!(after(&trip, 30), None, "that was no answer");
        trip.heard(OWNER, 1, at(40));
        assert_eq!(after(&trip, 40), Some(4 * 40));
        // An owner that became slow: at once more than it took.
        trip.sent(&up(2), at(1_000));
        trip.heard(OWNER, 2, at(1_600));
        assert!(after(&trip, 1_600) > Some(600));
        for number in 3..60 {
            trip.sent(&up(number), at(number * 1_000));
            trip.heard(OWNER, number, at(number * 1_000 + 10));
        }
        assert!(after(&trip, 60_000) < Some(50), "and quick again");
    }

    #[test]
    fn a_question_that_is_not_answered_makes_patient() {
        let mut trip = RoundTrip::default();
        trip.sent(&up(1), at(0));
        trip.heard(OWNER, 1, at(1));
        trip.sent(&up(2), at(1_000));
        assert_eq!(after(&trip, 1_100), Some(200));
        trip.sent(&up(3), at(3_500));
        assert_eq!(after(&trip, 3_510), Some(20), "another was asked");
    }
}

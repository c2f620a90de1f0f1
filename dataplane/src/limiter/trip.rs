//! How long a question takes to an owner and back.

use std::time::Duration;

use shared::quota::{Said, Up};
use shared::time::Time;
use uuid::Uuid;

/// What was measured is forgotten after this or twice as much.
const ROUND: Duration = Duration::from_secs(10);

/// The least of the last while: an owner may answer late, because it has nothing to say.
#[derive(Default)]
pub(super) struct RoundTrip {
    /// A message that is to be answered: to whom, its number, and when it was sent.
    probe: Option<(Uuid, u64, Time)>,
    /// Of this round and the one before.
    least: [Option<Duration>; 2],
    round: Time,
}

impl RoundTrip {
    pub fn sent(&mut self, up: &Up, now: Time) {
        let is_asking = up.items.iter().any(|said| matches!(said, Said::Want(_)));
        let is_free = self.probe.is_none_or(|(_, _, sent)| now.since(sent) > ROUND);
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
        self.turn(now);
        let took = now.since(sent);
        self.least[0] = Some(self.least[0].map_or(took, |least| least.min(took)));
    }

    /// Zero where nothing is known.
    pub fn least(&mut self, now: Time) -> Duration {
        self.turn(now);
        self.least.iter().flatten().min().copied().unwrap_or_default()
    }

    fn turn(&mut self, now: Time) {
        if now.since(self.round) > ROUND {
            self.round = now;
            self.least = [None, self.least[0]];
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::change::Revision;
    use shared::quota::{AccountId, ProxyId, Want};

    use super::*;

    #[test]
    fn the_least_of_a_while() {
        let owner = Uuid::from_u128(7);
        let up = |number| Up {
            from: ProxyId {
                instance: Uuid::nil(),
                boot: 1,
            },
            to: owner,
            number,
            heard: 0,
            revision: Revision::ZERO,
            items: vec![Said::Want(Want {
                account: AccountId::of(Uuid::nil(), b""),
                queued: 1,
                least: 1,
                rate: 1,
            })],
        };
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let mut trip = RoundTrip::default();
        assert_eq!(trip.least(at(0)), Duration::ZERO);
        for (number, sent, heard) in [(1, 0, 30), (2, 100, 900), (3, 1_000, 1_040)] {
            trip.sent(&up(number), at(sent));
            trip.heard(owner, number - 1, at(heard - 1));
            trip.heard(owner, number, at(heard));
        }
        assert_eq!(trip.least(at(1_100)), Duration::from_millis(30));
        assert_eq!(trip.least(at(12_000)), Duration::from_millis(30), "the round before");
        assert_eq!(trip.least(at(24_000)), Duration::ZERO);
    }
}

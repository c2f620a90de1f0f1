//! Counts that were told to begin anew, until every proxy knows.
//!
//! Those that refuse by what they were told before are told that it holds no longer, and asked for a sign of life: what
//! names a message read after that one proves that they forgot.

use std::collections::BTreeMap;
use std::time::Duration;

use net::clock::boottime;
use shared::quota::owner::{Input, Output};
use shared::quota::{AccountId, Down, Owner, Standby, Told, Up};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::Driver;
use crate::limits::asking::{Answer, Forgotten, QUESTIONS_MAX};

/// A proxy answers within a tick of its own and a round trip.
const KNOWN_WITHIN: Duration = Duration::from_millis(1_500);

/// One of these.
pub struct Reset {
    owner: Uuid,
    /// Proxies that do not know yet, and the message that tells them.
    unknown: BTreeMap<Uuid, u64>,
    told: usize,
    until: Instant,
    answer: oneshot::Sender<Answer<Forgotten>>,
}

impl Reset {
    fn finish(self) {
        // Whoever asked may not wait any more.
        let _ = self.answer.send(Answer::Here(Forgotten {
            members: self.told,
            reached: self.told - self.unknown.len(),
        }));
    }
}

impl Driver {
    pub(super) fn reset(&mut self, account: AccountId, answer: oneshot::Sender<Answer<Forgotten>>) {
        let is_free = self.resets.len() < QUESTIONS_MAX;
        let owner = self.owner.as_mut().filter(|_| is_free);
        let Some((owner, outputs)) = owner.and_then(|owner| reset(owner, &account, self.clock.read())) else {
            let _ = answer.send(self.elsewhere());
            return;
        };
        let mut unknown = BTreeMap::new();
        for mut output in outputs {
            if let Output::Send(down) = &mut output
                && asks_for_a_beat(down, &account)
            {
                unknown.insert(down.to.instance, down.number);
            }
            self.output(output);
        }
        // Whoever has lost contact beyond its lease is waited for by nobody.
        let now = boottime();
        self.fleet.with(|hub| {
            let roster = hub.roster();
            for peer in roster.members() {
                if roster.is_detached(peer, now) {
                    unknown.remove(&peer.instance());
                }
            }
        });
        self.resets.push(Reset {
            owner,
            told: unknown.len(),
            unknown,
            until: Instant::now() + KNOWN_WITHIN,
            answer,
        });
        self.finish_resets();
    }

    /// A proxy has read what it says that it has.
    pub(super) fn knows(&mut self, up: &Up) {
        for reset in self.resets.iter_mut().filter(|reset| reset.owner == up.to) {
            if reset
                .unknown
                .get(&up.from.instance)
                .is_some_and(|number| *number <= up.heard)
            {
                reset.unknown.remove(&up.from.instance);
            }
        }
    }

    /// Those that all know, and those that have taken too long.
    pub(super) fn finish_resets(&mut self) {
        let now = Instant::now();
        for reset in &mut self.resets {
            reset.unknown.retain(|instance, _| self.members.contains(instance));
        }
        let is_over = |reset: &mut Reset| reset.unknown.is_empty() || now >= reset.until;
        self.resets.extract_if(.., is_over).for_each(Reset::finish);
    }
}

/// None: it is not counted here.
fn reset(owner: &mut Owner, account: &AccountId, now: shared::quota::Reading) -> Option<(Uuid, Vec<Output>)> {
    owner
        .reset(account)
        .then(|| (owner.incarnation(), owner.handle(Input::Tick, now)))
}

/// Whether the message tells of the reset; then its reader is to answer it. A standby of number 0 changes nothing.
fn asks_for_a_beat(down: &mut Down, account: &AccountId) -> bool {
    let forgets = |told: &Told| match told {
        Told::Exhausted {
            account: of,
            epoch,
            retry_in,
        } if of == account && retry_in.is_zero() => Some(*epoch),
        _ => None,
    };
    let Some(epoch) = down.items.iter().find_map(forgets) else {
        return false;
    };
    down.items.push(Told::Standby(Standby {
        shard: account.shard(),
        epoch,
        ..Standby::default()
    }));
    true
}

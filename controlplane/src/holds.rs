//! Resuming what has been held for as long as it may, also when whoever held it is gone.
//!
//! Every control plane counts a hold's time for itself, from when it first saw it, and a restart counts anew: never
//! earlier than its caller was told. What they decide is about the very hold, so that of several one commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use shared::change::{Kind, ObjectKey, Revision};
use shared::model::Hold;
use shared::state::State;
use shared::time::Time;
use tokio_util::sync::CancellationToken;

use crate::changelog::Changelog;
use crate::registry::hold;

/// Who resumes a service whose hold has lasted long enough.
pub const ACTOR: &str = "hold-max";
/// Control planes that saw it at once do not ask at once.
const JITTER: Duration = Duration::from_millis(500);
/// What did not come about is tried again after that.
const AGAIN: Duration = Duration::from_secs(2);

/// The holds that stand, and when each is to end.
#[derive(Debug)]
pub struct Holds {
    seed: u64,
    seen: BTreeMap<Arc<str>, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    revision: Revision,
    due: Time,
}

impl Holds {
    /// `seed`: any number, another for every control plane.
    pub fn new(seed: u64) -> Holds {
        let seen = BTreeMap::new();
        Holds { seed, seen }
    }

    /// Whenever the head has moved.
    pub fn look(&mut self, state: &State, now: Time) {
        let from = ObjectKey::hold("");
        let held = state.objects.range(from..);
        let held = held.take_while(|(key, _)| key.kind == Kind::Hold);
        let before = std::mem::take(&mut self.seen);
        self.seen = held
            .map(|(key, object)| {
                let known = before.get(&key.key).filter(|seen| seen.revision == object.revision);
                // What only a newer version can read is given the longest time that there is.
                let max = Hold::parse(object.body.as_str()).map_or(Hold::MOST, |hold| hold.max);
                let new = || Seen {
                    revision: object.revision,
                    due: now + (max + self.jitter(object.revision)),
                };
                (key.key.clone(), known.copied().unwrap_or_else(new))
            })
            .collect();
    }

    fn jitter(&self, revision: Revision) -> Duration {
        let mixed = (self.seed ^ revision.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Duration::from_nanos((mixed * u64::from(JITTER.subsec_nanos())) >> 32)
    }

    /// When the first of them is due.
    pub fn next(&self) -> Option<Time> {
        self.seen.values().map(|seen| seen.due).min()
    }

    /// Those whose time is over; again after a while, unless they stand no more by then.
    pub fn due(&mut self, now: Time) -> Vec<(Arc<str>, Revision)> {
        let due = self.seen.iter_mut().filter(|(_, seen)| seen.due <= now);
        let due = due.map(|(service, seen)| {
            seen.due = now + AGAIN;
            (service.clone(), seen.revision)
        });
        due.collect()
    }
}

/// Until `stop`.
pub async fn keep(changelog: Arc<Changelog>, seed: u64, stop: CancellationToken) {
    let mut moves = changelog.moves();
    let mut holds = Holds::new(seed);
    loop {
        moves.borrow_and_update();
        holds.look(&changelog.head().state, boottime());
        for (service, revision) in holds.due(boottime()) {
            let ended = changelog.submit(ACTOR.into(), hold::expire(&service, revision)).await;
            match ended {
                Ok(committed) if committed.appended => {
                    tracing::warn!(%service, "held for as long as it may be: resumed");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%service, "a hold whose time is over could not be ended: {error}");
                    break;
                }
            }
        }
        let next = holds.next().map(|due| due.since(boottime()));
        let next = async {
            match next {
                Some(next) => tokio::time::sleep(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            moved = moves.changed() => if moved.is_err() { return },
            () = next => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::change::{Body, Epoch, Op, Verb};

    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn hold(state: &mut State, body: Option<&str>, revision: u64) {
        let op = Op {
            verb: if body.is_some() { Verb::Put } else { Verb::Delete },
            kind: Kind::Hold,
            key: "web".into(),
            body: body.map(|body| Body::from_json(body).unwrap()),
            registration: None,
            before: None,
        };
        state.apply_op(&op, Revision(revision));
    }

    #[test]
    fn each_hold_has_its_time_from_when_it_was_seen() {
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        let mut holds = Holds::new(7);
        hold(&mut state, Some(r#"{"max":"10s"}"#), 3);
        holds.look(&state, at(1_000));
        holds.look(&state, at(5_000));
        let due = holds.next().unwrap();
        assert!((at(11_000)..at(11_500)).contains(&due), "{due:?}");
        assert_eq!(holds.due(at(10_999)), []);
        assert_eq!(holds.due(due), [("web".into(), Revision(3))]);
        assert_eq!((holds.due(due), holds.next()), (vec![], Some(due + AGAIN)));
        assert_eq!(holds.due(due + AGAIN).len(), 1, "it stands still");

        hold(&mut state, Some(r#"{"max":"10s"}"#), 4);
        holds.look(&state, at(20_000));
        assert!(holds.next().unwrap() >= at(30_000), "another hold");
        hold(&mut state, Some(r#"{"until":"noon"}"#), 5);
        holds.look(&state, at(30_000));
        assert!(holds.next().unwrap() >= at(630_000));
        hold(&mut state, None, 6);
        holds.look(&state, at(30_001));
        assert_eq!(holds.next(), None);
    }

    #[test]
    fn two_control_planes_do_not_ask_at_once() {
        let mut state = State::empty(Epoch(uuid::Uuid::nil()));
        hold(&mut state, Some("{}"), 3);
        let due = |seed| {
            let mut holds = Holds::new(seed);
            holds.look(&state, at(0));
            holds.next()
        };
        let all: std::collections::BTreeSet<_> = (0..50).map(|seed| due(seed * 0x1234_5678_9abc)).collect();
        assert!(all.len() > 40, "{}", all.len());
    }
}

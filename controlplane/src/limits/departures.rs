//! Who left the roster, as the log tells it: a successor has to know of them what it cannot ask them any more.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::change::{Commit, Revision};
use shared::quota::{Departure, Label, stretch};
use shared::stream::roster::member::{Departed, departed};
use uuid::Uuid;

/// Instances that are remembered. A fleet that loses more within a day counts as one of which something is not known.
const REMEMBERED_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub struct Departures {
    /// The last of each instance. Once it joined again, whatever it left with went along.
    last: BTreeMap<Uuid, Departure>,
    /// The newest stamp so far: wall clocks step back, and what left later did not leave earlier.
    stamped: u64,
    /// Someone may have left before this and is not known, and said no goodbye.
    unknown_before: Option<Label>,
}

impl Departures {
    /// From what memory holds of the log's past.
    pub fn of<'a>(commits: impl IntoIterator<Item = &'a Commit>) -> Departures {
        let mut departures = Departures::default();
        for commit in commits {
            if departures.stamped == 0 && commit.revision > Revision(1) {
                departures.unknown_before = Some(label(commit.at_ms));
            }
            departures.commit(commit, Label::ZERO);
        }
        departures
    }

    /// Who left by this one. `now`: label time, if it comes about now.
    pub fn commit(&mut self, commit: &Commit, now: Label) -> Vec<Departed> {
        self.stamped = self.stamped.max(commit.at_ms);
        let at = label(self.stamped).max(now);
        let gone: Vec<Departed> = commit.ops.iter().filter_map(departed).collect();
        for Departed { instance, how } in &gone {
            let goodbye = how.goodbye;
            let departure = Departure {
                instance: *instance,
                at,
                goodbye,
            };
            self.last.insert(*instance, departure);
        }
        while self.last.len() > REMEMBERED_MAX {
            let first = self.last.values().min_by_key(|departure| departure.at);
            let Some(Departure { instance, at, .. }) = first.cloned() else {
                break;
            };
            self.last.remove(&instance);
            self.unknown_before = self.unknown_before.max(Some(at));
        }
        gone
    }

    /// Some commits could not be read.
    pub fn missed(&mut self, now: Label) {
        self.unknown_before = Some(label(self.stamped).max(now));
    }

    /// Who left within `forget_after`.
    pub fn since(&mut self, now: Label, forget_after: Duration) -> Vec<Departure> {
        let counts = |at: Label| now.since(at) < stretch(forget_after);
        self.last.retain(|_, departure| counts(departure.at));
        let unknown = self.unknown_before.filter(|at| counts(*at)).map(|at| Departure {
            instance: Uuid::nil(),
            at,
            goodbye: false,
        });
        self.last.values().cloned().chain(unknown).collect()
    }
}

/// Of a commit that was stamped with a whole millisecond, which is over then.
fn label(at_ms: u64) -> Label {
    Label::from_nanos(at_ms.saturating_add(1).saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::change::{Epoch, Op, OpId};
    use shared::state::State;
    use shared::stream::roster::Member;
    use shared::stream::roster::member::{Join, join, leave, say_goodbye};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A log in which each operation is a commit a second later.
    struct Written {
        state: State,
        commits: Vec<Commit>,
    }

    impl Written {
        fn new() -> Written {
            Written {
                state: State::empty(Epoch(Uuid::nil())),
                commits: Vec::new(),
            }
        }

        fn commit(&mut self, at_ms: u64, op: Op) {
            let commit = Commit {
                revision: self.state.revision.next(),
                at_ms,
                actor: "test".into(),
                op_id: OpId(Uuid::nil()),
                ops: vec![op],
            };
            self.state.apply(&commit).unwrap();
            self.commits.push(commit);
        }

        fn join(&mut self, at_ms: u64, name: &str, instance: u128) {
            let member = Member {
                instance: Uuid::from_u128(instance),
                lease_ms: 1,
            };
            let replaces = Member::of(&self.state, name).map(|held| held.instance);
            match join(&self.state, &name.into(), member, replaces) {
                Join::Append(op) => self.commit(at_ms, op),
                other => panic!("{other:?}"),
            }
        }

        fn leave(&mut self, at_ms: u64, name: &str, goodbye: bool) {
            let name: Arc<str> = name.into();
            let instance = Member::of(&self.state, &name).unwrap().instance;
            let op = match goodbye {
                true => say_goodbye(&self.state, &name, instance, 1),
                false => leave(&self.state, &name, instance, false),
            };
            self.commit(at_ms, op.unwrap());
        }
    }

    fn found(departures: &mut Departures, now_ms: u64) -> Vec<(u128, u64, bool)> {
        let left = departures.since(Label::from_nanos(now_ms * 1_000_000), DAY);
        left.iter()
            .map(|left| (left.instance.as_u128(), left.at.as_nanos() / 1_000_000, left.goodbye))
            .collect()
    }

    #[test]
    fn it_knows_who_left_when_and_how() {
        let mut log = Written::new();
        log.join(1_000, "p", 1);
        log.join(2_000, "q", 2);
        log.leave(3_000, "p", true);
        log.join(4_000, "q", 3);
        log.join(5_000, "p", 1);
        log.leave(6_000, "p", false);
        let mut departures = Departures::of(&log.commits);
        assert_eq!(found(&mut departures, 7_000), [(1, 6_001, false), (2, 4_001, false)]);
        let day = u64::try_from(DAY.as_millis()).unwrap() * 1_001 / 1_000;
        assert_eq!(found(&mut departures, 4_002 + day), [(1, 6_001, false)]);
        assert_eq!(found(&mut departures, 6_002 + day), []);
    }

    #[test]
    fn a_clock_that_stepped_back_makes_nobody_leave_earlier() {
        let mut log = Written::new();
        log.join(9_000, "p", 1);
        log.leave(2_000, "p", true);
        let mut departures = Departures::of(&log.commits[..1]);
        departures.commit(&log.commits[1], Label::ZERO);
        assert_eq!(found(&mut departures, 9_500), [(1, 9_001, true)]);
        let mut departures = Departures::of(&log.commits[..1]);
        departures.commit(&log.commits[1], Label::from_nanos(9_400_000_000));
        assert_eq!(found(&mut departures, 9_500), [(1, 9_400, true)]);
    }

    #[test]
    fn what_the_log_no_longer_has_may_be_anything() {
        let mut log = Written::new();
        log.join(1_000, "p", 1);
        log.leave(2_000, "p", false);
        log.join(3_000, "q", 2);
        let mut departures = Departures::of(&log.commits[2..]);
        assert_eq!(found(&mut departures, 4_000), [(0, 3_001, false)]);
        departures = Departures::of(&log.commits);
        departures.missed(Label::from_nanos(5_000_000_000));
        assert_eq!(found(&mut departures, 6_000), [(1, 2_001, false), (0, 5_000, false)]);
    }
}

//! The committer and its store: appends that take their time, are lost, or come about later.

use super::{Outcome, Purpose, summary};
use crate::dice::{MILLI, SECOND};
use crate::world::{Actor, World};
use controlplane::changelog::committer::{self, Tail};
use controlplane::changelog::{Committed, Decide, Head, WriteError};
use controlplane::push::join;
use controlplane::store::{AppendError, ReadError};
use shared::change::{Commit, Revision};
use shared::stream::publisher::{self};
use std::sync::Arc;

impl World {
    /// What others append is looked for again and again; what was found may come late.
    pub(super) fn poll_tail(&mut self) {
        let Some(run) = self.plane.run.as_ref() else { return };
        let from = run.committer.head().state.revision;
        let found: Vec<_> = run
            .core
            .read(from, 1_000)
            .unwrap_or_default()
            .into_iter()
            .map(Arc::new)
            .collect();
        if !found.is_empty() {
            self.count.add("tails that brought something");
            let soon = self.dice.gap();
            self.after(Actor::Plane, soon, move |world| {
                world.commit(committer::Input::Heard(found))
            });
        }
        self.after(Actor::Plane, 250 * MILLI, World::poll_tail);
    }

    pub fn submit(&mut self, actor: Arc<str>, decide: Decide, purpose: Purpose) {
        let Some(run) = self.plane.run.as_mut() else { return };
        run.last_ticket += 1;
        let ticket = run.last_ticket;
        run.tickets.insert(ticket, purpose);
        self.commit(committer::Input::Submit { ticket, actor, decide });
    }

    pub(super) fn commit(&mut self, input: committer::Input) {
        let now = self.plane_time();
        let Some(run) = self.plane.run.as_mut() else { return };
        for output in run.committer.handle(input, now) {
            match output {
                committer::Output::Append { after, commit } => self.append(after, commit),
                committer::Output::ReadTail { from } => self.read_tail(from),
                committer::Output::Publish { commit, head } => self.published(commit, &head),
                committer::Output::Answer { ticket, result } => self.answer(ticket, *result),
            }
        }
        let wake_at = self.plane.run.as_ref().and_then(|run| run.committer.wake_at());
        if let Some(at) = wake_at {
            let delay = at.since(now).as_nanos() as u64 + MILLI;
            self.after(Actor::Plane, delay, |world| {
                let now = world.plane_time();
                let due = world.plane.run.as_ref().and_then(|run| run.committer.wake_at());
                if due.is_some_and(|at| at <= now) {
                    world.commit(committer::Input::Timer);
                }
            });
        }
    }

    /// One after another, as the changelog does: memory, then the fleet; answers follow.
    pub(super) fn published(&mut self, commit: Arc<Commit>, head: &Arc<Head>) {
        self.note(|| format!("plane: revision {} stands: {}", commit.revision, summary(&commit)));
        if let Some(run) = self.plane.run.as_mut() {
            run.history.push(commit.clone());
            run.snapshots.push(head.state.clone());
            if run.snapshots.len() > 4 {
                run.snapshots.remove(0);
            }
        }
        self.hub(|hub, now| hub.committed(&commit, &head.state, now));
    }

    pub(super) fn answer(&mut self, ticket: u64, result: Result<Committed, WriteError>) {
        let Some(purpose) = self.plane.run.as_mut().and_then(|run| run.tickets.remove(&ticket)) else {
            return;
        };
        match &result {
            Err(WriteError::OutcomeUnknown { .. }) => self.count.add("outcomes unknown to the writer"),
            Err(WriteError::Unavailable) => self.count.add("writes the store did not take"),
            Ok(committed) if !committed.appended => self.count.add("decisions that appended nothing"),
            _ => {}
        }
        let soon = self.dice.gap();
        self.after(Actor::Plane, soon, move |world| match purpose {
            Purpose::Write(op) => world.decided(op, result),
            Purpose::Forget(op) => world.forgotten(op, &result),
            Purpose::Join(id) => world.publish(id, publisher::Input::Joined(join::joined(&result))),
            Purpose::Leave(id) => world.publish(id, publisher::Input::Left),
        });
    }

    pub(super) fn append(&mut self, after: Revision, commit: Arc<Commit>) {
        if let Some(run) = self.plane.run.as_mut() {
            run.appending = Some((after, commit.clone()));
        }
        let trouble = self.now < self.faults.store_trouble_until;
        let (took, outcome) = match (trouble, self.dice.below(4)) {
            (false, _) => (self.dice.between(100_000, 3 * MILLI), Outcome::True),
            (true, 0) => (self.dice.below(50 * MILLI), Outcome::Unavailable),
            (true, 1) => (self.dice.below(900 * MILLI), Outcome::UnknownDone),
            (true, 2) => (self.dice.below(900 * MILLI), Outcome::UnknownLater),
            (true, _) => (self.dice.below(4 * SECOND), Outcome::True),
        };
        self.after(Actor::Plane, took, move |world| world.appended(after, commit, outcome));
    }

    pub(super) fn appended(&mut self, after: Revision, commit: Arc<Commit>, outcome: Outcome) {
        let Some(run) = self.plane.run.as_mut() else { return };
        run.appending = None;
        let unknown = || Err(AppendError::Unknown("no answer in time".into()));
        let result = match outcome {
            Outcome::True => run.core.append(after, &commit),
            Outcome::Unavailable => Err(AppendError::Unavailable("nobody is there".into())),
            Outcome::UnknownDone => run.core.append(after, &commit).and_then(|()| unknown()),
            Outcome::UnknownLater => unknown(),
        };
        match &result {
            Err(AppendError::Conflict) => self.count.add("conflicts"),
            Err(AppendError::Unknown(_)) => self.count.add("appends of unknown outcome"),
            _ => {}
        }
        if matches!(outcome, Outcome::UnknownLater) {
            // It was frozen on its way, and comes about after all, unless something else has by then.
            let later = self.dice.between(10 * MILLI, 3 * SECOND);
            self.after(Actor::Plane, later, move |world| {
                if let Some(run) = world.plane.run.as_mut() {
                    let late = run.core.append(after, &commit);
                    if late.is_ok() {
                        world.count.add("appends that came about later");
                    }
                    world.learn();
                }
            });
        }
        self.learn();
        self.commit(committer::Input::Appended(result));
    }

    /// Whatever stands in the log by now is the truth.
    pub fn learn(&mut self) {
        let Some(run) = self.plane.run.as_ref() else { return };
        let new = self.volumes[self.plane.volume].look(&run.core, self.now);
        for commit in new {
            self.stands(&commit);
        }
    }

    pub(super) fn read_tail(&mut self, from: Revision) {
        let trouble = self.now < self.faults.store_trouble_until && self.dice.percent(40);
        let took = self.dice.between(100_000, 5 * MILLI);
        self.after(Actor::Plane, took, move |world| {
            let Some(run) = world.plane.run.as_ref() else { return };
            let tail = || {
                let head = run.core.head()?;
                let commits = run.core.read(from, 1_000)?.into_iter().map(Arc::new).collect();
                Ok(Tail { head, commits })
            };
            let tail: Result<Tail, ReadError> = match trouble {
                true => Err(ReadError::Unavailable("nobody is there".into())),
                false => tail(),
            };
            world.commit(committer::Input::Tail(tail));
        });
    }
}

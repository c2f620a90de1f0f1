//! The committer, and what follows from what it puts out.

use super::{Purpose, summary};
use crate::dice::MILLI;
use crate::world::{Actor, World};
use controlplane::changelog::committer;
use controlplane::changelog::{Committed, Decide, Head, WriteError};
use controlplane::push::join;
use shared::change::Commit;
use shared::stream::publisher::{self};
use std::sync::Arc;

impl World {
    /// What others append is looked for again and again; what was found may come late.
    pub(super) fn poll_tail(&mut self, n: usize) {
        let Some(run) = self.planes[n].run.as_ref() else { return };
        let from = run.committer.head().state.revision;
        let found = self.volume().core().and_then(|core| core.read(from, 1_000).ok());
        let found: Vec<_> = found.unwrap_or_default().into_iter().map(Arc::new).collect();
        if !found.is_empty() {
            self.count.add("tails that brought something");
            let soon = self.dice.gap();
            self.after(Actor::Plane(n), soon, move |world| {
                world.commit(n, committer::Input::Heard(found))
            });
        }
        self.after(Actor::Plane(n), 250 * MILLI, move |world| world.poll_tail(n));
    }

    pub fn submit(&mut self, n: usize, actor: Arc<str>, decide: Decide, purpose: Purpose) {
        let Some(run) = self.planes[n].run.as_mut() else { return };
        run.last_ticket += 1;
        let ticket = run.last_ticket;
        run.tickets.insert(ticket, purpose);
        self.commit(n, committer::Input::Submit { ticket, actor, decide });
    }

    pub(super) fn commit(&mut self, n: usize, input: committer::Input) {
        let now = self.plane_time(n);
        let Some(run) = self.planes[n].run.as_mut() else { return };
        for output in run.committer.handle(input, now) {
            match output {
                committer::Output::Append { after, commit } => self.append(n, after, commit),
                committer::Output::ReadTail { from } => self.read_tail(n, from),
                committer::Output::Publish { commit, head } => self.published(n, commit, &head),
                committer::Output::Answer { ticket, result } => self.answer(n, ticket, *result),
            }
        }
        let wake_at = self.planes[n].run.as_ref().and_then(|run| run.committer.wake_at());
        if let Some(at) = wake_at {
            let delay = at.since(now).as_nanos() as u64 + MILLI;
            self.after(Actor::Plane(n), delay, move |world| {
                let now = world.plane_time(n);
                let due = world.planes[n].run.as_ref().and_then(|run| run.committer.wake_at());
                if due.is_some_and(|at| at <= now) {
                    world.commit(n, committer::Input::Timer);
                }
            });
        }
    }

    /// One after another, as the changelog does: memory, then the fleet; answers follow.
    pub(super) fn published(&mut self, n: usize, commit: Arc<Commit>, head: &Arc<Head>) {
        self.note(|| format!("plane {n}: revision {} stands: {}", commit.revision, summary(&commit)));
        if let Some(run) = self.planes[n].run.as_mut() {
            run.history.push(commit.clone());
            run.snapshots.push(head.state.clone());
            if run.snapshots.len() > 4 {
                run.snapshots.remove(0);
            }
        }
        let now = self.plane_time(n);
        if let Some(run) = self.planes[n].run.as_mut() {
            run.holds.look(&head.state, now);
        }
        self.hub(n, |hub, now| hub.committed(&commit, &head.state, now));
    }

    pub(super) fn answer(&mut self, n: usize, ticket: u64, result: Result<Committed, WriteError>) {
        let Some(purpose) = self.planes[n].run.as_mut().and_then(|run| run.tickets.remove(&ticket)) else {
            return;
        };
        match &result {
            Err(WriteError::OutcomeUnknown { .. }) => self.count.add("outcomes unknown to the writer"),
            Err(WriteError::Unavailable) => self.count.add("writes the store did not take"),
            Ok(committed) if !committed.appended => self.count.add("decisions that appended nothing"),
            _ => {}
        }
        let soon = self.dice.gap();
        self.after(Actor::Plane(n), soon, move |world| match purpose {
            Purpose::Write(op) => world.decided(n, op, result),
            Purpose::Forget(op) => world.forgotten(op, &result),
            Purpose::Join(id) => world.publish(id, publisher::Input::Joined(join::joined(&result))),
            Purpose::Look(id) => world.publish(id, publisher::Input::Looked(result.is_ok())),
            Purpose::Leave(id) => world.publish(id, publisher::Input::Left),
            Purpose::Expire => {}
        });
    }
}

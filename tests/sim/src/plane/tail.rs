//! What others append to a shared log: looked for again and again, and at once when another control plane says so.

use std::sync::Arc;

use controlplane::changelog::committer;
use shared::change::Commit;
use shared::time::Time;

use super::World;
use crate::dice::{MILLI, SECOND};
use crate::world::Actor;

const EVERY: u64 = 250 * MILLI;
/// So few that there is more to find now and then.
const PAGE: usize = 8;

/// Where one plane stands in following the log.
#[derive(Debug, Default)]
pub struct Tail {
    reading: bool,
    /// Somebody said that there is something, while a read was under way.
    look: bool,
    /// Counts reads: a timer that was overtaken is void.
    reads: u64,
}

impl World {
    pub(super) fn look_for_tail(&mut self, n: usize) {
        let now = self.plane_time(n);
        let Some(run) = self.planes[n].run.as_mut() else { return };
        let from = run.committer.head().state.revision;
        let Some(sharing) = &mut run.sharing else { return };
        if sharing.tail.reading {
            sharing.tail.look = true;
            return;
        }
        sharing.tail.reading = true;
        sharing.tail.reads += 1;
        let mut trip = self.trip(n);
        if self.now < self.planes[n].line.lags_until {
            let late = self.dice.between(200 * MILLI, 7 * SECOND);
            let after = self.dice.below(late);
            trip.there = trip.there.map(|there| there + late - after);
            trip.back += late;
        }
        let operation = move |world: &mut World| world.volume().core().and_then(|core| core.read(from, PAGE).ok());
        self.travel(n, trip, operation, move |world, found| {
            if let Some(found) = found.flatten() {
                // The writer may have to do first.
                let soon = world.dice.gap();
                let found = found.into_iter().map(Arc::new).collect();
                world.after(Actor::Plane(n), soon, move |world| world.tail_read(n, found, now));
            }
            world.rest_from_tail(n);
        });
    }

    fn rest_from_tail(&mut self, n: usize) {
        let Some(sharing) = self.sharing(n) else { return };
        sharing.tail.reading = false;
        let reads = sharing.tail.reads;
        if std::mem::take(&mut sharing.tail.look) {
            return self.look_for_tail(n);
        }
        self.after(Actor::Plane(n), EVERY, move |world| {
            if world.sharing(n).is_some_and(|sharing| sharing.tail.reads == reads) {
                world.look_for_tail(n);
            }
        });
    }

    fn tail_read(&mut self, n: usize, found: Vec<Arc<Commit>>, began: Time) {
        let whole = found.len() < PAGE;
        let last = found.last().map(|commit| commit.revision);
        if last.is_some() {
            self.count.add("tails that brought something");
        }
        self.commit(n, committer::Input::Heard(found));
        let Some(run) = self.planes[n].run.as_ref() else { return };
        // What is passed over because something is in flight is found again by the next read.
        let held = last.is_none_or(|last| run.committer.head().state.revision >= last);
        if whole && held {
            let soon = self.dice.gap();
            self.after(Actor::Plane(n), soon, move |world| {
                world.hub(n, |hub, now| hub.log_read(began, now));
            });
        }
    }
}

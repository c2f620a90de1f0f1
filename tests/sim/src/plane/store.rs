//! A plane's store at the end of a line: operations that take their time, are lost, or come about later.

use std::sync::Arc;

use controlplane::changelog::committer::{self, Tail};
use controlplane::store::core::Core;
use controlplane::store::{AppendError, ReadError};
use shared::change::{Commit, Revision};

use crate::dice::{MILLI, SECOND};
use crate::world::{Actor, World};

/// What is known in time of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// What came of it.
    Outcome,
    /// That it was not tried.
    Refused,
    /// Nothing.
    Nothing,
}

/// One operation on its way, in true time.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// When it takes place, if it does.
    pub there: Option<u64>,
    /// When its caller goes on.
    pub back: u64,
    pub known: Known,
}

/// A way to the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Nothing gets through until then, in one direction at least.
    pub cut_until: u64,
    pub slow_until: u64,
    /// It can be read, and takes nothing until then.
    pub full_until: u64,
    /// Reads of what others appended take their time until then.
    pub lags_until: u64,
}

fn nothing_known() -> AppendError {
    AppendError::Unknown("no answer in time".into())
}

fn nobody() -> ReadError {
    ReadError::Unavailable("nobody is there".into())
}

impl World {
    /// What becomes of an operation that changes something.
    pub(super) fn trip_to_write(&mut self, n: usize) -> Trip {
        match self.now < self.planes[n].line.full_until {
            true => Trip {
                there: None,
                back: self.now + self.dice.below(50 * MILLI),
                known: Known::Refused,
            },
            false => self.trip(n),
        }
    }

    /// What becomes of an operation that a plane begins now.
    pub(super) fn trip(&mut self, n: usize) -> Trip {
        let line = self.planes[n].line;
        let soon = self.now + self.dice.between(100_000, 3 * MILLI);
        let (there, back, known) = if self.now < line.cut_until {
            match self.dice.below(3) {
                0 => (None, self.now + self.dice.below(50 * MILLI), Known::Refused),
                1 => (None, self.now + SECOND, Known::Nothing),
                _ => (Some(soon), self.now + SECOND, Known::Nothing),
            }
        } else if self.now < self.faults.store_trouble_until {
            let later = self.now + self.dice.below(900 * MILLI);
            match self.dice.below(4) {
                0 => (None, self.now + self.dice.below(50 * MILLI), Known::Refused),
                1 => (Some(soon), later, Known::Nothing),
                // Frozen on its way, it comes about after all.
                2 => (
                    Some(later + self.dice.between(10 * MILLI, 3 * SECOND)),
                    later,
                    Known::Nothing,
                ),
                _ => {
                    let there = self.now + self.dice.below(3 * SECOND);
                    (Some(there), there + self.dice.below(SECOND), Known::Outcome)
                }
            }
        } else {
            let way = if self.now < line.slow_until { SECOND } else { 2 * MILLI };
            let there = self.now + self.dice.between(50_000, way);
            (Some(there), there + self.dice.between(50_000, way), Known::Outcome)
        };
        Trip { there, back, known }
    }

    /// Runs `operation` at the store, whoever asked for it may be gone by then, and goes on with what is known of it.
    pub(super) fn travel<T: 'static>(
        &mut self,
        n: usize,
        trip: Trip,
        operation: impl FnOnce(&mut World) -> T + 'static,
        go_on: impl FnOnce(&mut World, Option<T>) + 'static,
    ) {
        let life = self.planes[n].life;
        match (trip.there, trip.known) {
            (Some(there), Known::Outcome) => self.at(Actor::World, there, move |world| {
                let outcome = operation(world);
                if world.planes[n].life == life {
                    world.at(Actor::Plane(n), trip.back, move |world| go_on(world, Some(outcome)));
                }
            }),
            (there, _) => {
                if let Some(there) = there {
                    self.at(Actor::World, there, move |world| {
                        operation(world);
                    });
                }
                self.at(Actor::Plane(n), trip.back, move |world| go_on(world, None));
            }
        }
    }

    pub(super) fn append(&mut self, n: usize, after: Revision, commit: Arc<Commit>) {
        let trip = match self.shared {
            true => self.trip_to_write(n),
            false => self.trip_at_home(),
        };
        if let Some(run) = self.planes[n].run.as_mut() {
            run.appending = Some((after, commit.clone()));
        }
        if !self.shared {
            return self.append_at_home(n, trip, after, commit);
        }
        let known = trip.known;
        let late = trip.there.is_some_and(|there| there > trip.back);
        let operation = move |world: &mut World| {
            let result = world.append_now(after, &commit);
            if late && result.is_ok() {
                world.count.add("appends that came about later");
            }
            result
        };
        self.travel(n, trip, operation, move |world, outcome| {
            let result = outcome.unwrap_or_else(|| match known {
                Known::Refused => Err(AppendError::Unavailable("nobody is there".into())),
                _ => Err(nothing_known()),
            });
            world.appended(n, result);
        });
    }

    fn append_now(&mut self, after: Revision, commit: &Commit) -> Result<(), AppendError> {
        let core = self.volume().core();
        let result = core.map_or(Err(nothing_known()), |core| core.append(after, commit));
        self.learn();
        result
    }

    fn trip_at_home(&mut self) -> Trip {
        let trouble = self.now < self.faults.store_trouble_until;
        let (took, late, known) = match (trouble, self.dice.below(4)) {
            (false, _) => (self.dice.between(100_000, 3 * MILLI), 0, Known::Outcome),
            (true, 0) => (self.dice.below(50 * MILLI), 0, Known::Refused),
            (true, 1) => (self.dice.below(900 * MILLI), 0, Known::Nothing),
            (true, 2) => {
                let late = self.dice.between(10 * MILLI, 3 * SECOND);
                (self.dice.below(900 * MILLI), late, Known::Nothing)
            }
            (true, _) => (self.dice.below(4 * SECOND), 0, Known::Outcome),
        };
        let back = self.now + took;
        let there = (known != Known::Refused).then_some(back + late);
        Trip { there, back, known }
    }

    /// To a store that lives and dies with its process.
    fn append_at_home(&mut self, n: usize, trip: Trip, after: Revision, commit: Arc<Commit>) {
        self.at(Actor::Plane(n), trip.back, move |world| {
            let late = trip.there.filter(|there| *there > trip.back);
            let result = match (late, trip.known) {
                (_, Known::Refused) => Err(AppendError::Unavailable("nobody is there".into())),
                (None, Known::Outcome) => world.append_now(after, &commit),
                (None, Known::Nothing) => world.append_now(after, &commit).and_then(|()| Err(nothing_known())),
                (Some(_), _) => Err(nothing_known()),
            };
            if let Some(late) = late {
                world.at(Actor::Plane(n), late, move |world| {
                    if world.append_now(after, &commit).is_ok() {
                        world.count.add("appends that came about later");
                    }
                });
            }
            world.appended(n, result);
        });
    }

    fn appended(&mut self, n: usize, result: Result<(), AppendError>) {
        if let Some(run) = self.planes[n].run.as_mut() {
            run.appending = None;
        }
        match &result {
            Err(AppendError::Conflict) => self.count.add("conflicts"),
            Err(AppendError::Unknown(_)) => self.count.add("appends of unknown outcome"),
            _ => {}
        }
        self.commit(n, committer::Input::Appended(result));
    }

    /// Whatever stands in the log by now is the truth.
    pub fn learn(&mut self) {
        let now = self.now;
        let new = self.volume_mut().look(now);
        for commit in new {
            self.stands(&commit);
        }
    }

    pub(super) fn read_tail(&mut self, n: usize, from: Revision) {
        let trip = match self.shared {
            true => self.trip(n),
            false => {
                let trouble = self.now < self.faults.store_trouble_until && self.dice.percent(40);
                let back = self.now + self.dice.between(100_000, 5 * MILLI);
                let known = if trouble { Known::Refused } else { Known::Outcome };
                let there = (!trouble).then_some(back);
                Trip { there, back, known }
            }
        };
        let operation = move |world: &mut World| world.volume().core().map_or(Err(nobody()), |core| tail(core, from));
        self.travel(n, trip, operation, move |world, tail| {
            world.commit(n, committer::Input::Tail(tail.unwrap_or(Err(nobody()))));
        });
    }
}

fn tail(core: &Core, from: Revision) -> Result<Tail, ReadError> {
    let head = core.head()?;
    let commits = core.read(from, 1_000)?.into_iter().map(Arc::new).collect();
    Ok(Tail { head, commits })
}

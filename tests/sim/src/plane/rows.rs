//! The rows by which the control planes of a shared store know of each other.

use std::collections::BTreeMap;
use std::time::Duration;

use shared::stream::planes::listener::Listener;
use shared::stream::planes::{PUBLIC_AFTER, PlaneId, ROW_AGE_MAX, Row};
use shared::time::Time;

use super::World;
use super::peers::Hearing;
use super::tail::Tail;
use crate::dice::{MILLI, SECOND};
use crate::world::Actor;

const EVERY: u64 = 500 * MILLI;
/// A row is gone so long after its last refresh, by clocks that are off by so much.
const KEPT: u64 = 15 * SECOND;
const OFF: u64 = 3 * SECOND;

/// A plane's part in the sharing of a store.
pub struct Sharing {
    pub id: PlaneId,
    beat: i64,
    pub tail: Tail,
    pub hearing: BTreeMap<PlaneId, Hearing>,
}

impl Sharing {
    pub fn new(id: PlaneId) -> Sharing {
        Sharing {
            id,
            beat: 0,
            tail: Tail::default(),
            hearing: BTreeMap::new(),
        }
    }
}

/// As the store keeps them.
#[derive(Default)]
pub struct Rows(BTreeMap<PlaneId, Kept>);

struct Kept {
    row: Row,
    /// Refreshed without a break since then, and last.
    since: u64,
    written: u64,
    until: u64,
}

impl Rows {
    /// Whether everybody can have seen for a while, in true time, that this one is alive.
    pub fn proves(&self, id: PlaneId, now: u64) -> bool {
        let apart = |time: u64| Duration::from_nanos(now - time);
        let seen = |kept: &Kept| apart(kept.since) > PUBLIC_AFTER && apart(kept.written) < ROW_AGE_MAX;
        self.0.get(&id).is_some_and(seen)
    }
}

impl World {
    pub(super) fn sharing(&mut self, n: usize) -> Option<&mut Sharing> {
        self.planes[n].run.as_mut()?.sharing.as_mut()
    }

    /// Writes the own row, then reads all.
    pub(super) fn refresh_row(&mut self, n: usize) {
        let began = self.plane_time(n);
        let due = self.now + EVERY;
        let Some(sharing) = self.sharing(n) else { return };
        sharing.beat += 1;
        let row = Row {
            id: sharing.id,
            url: n.to_string().into(),
            beat: sharing.beat,
        };
        let trip = self.trip_to_write(n);
        let operation = move |world: &mut World| world.write_row(row);
        self.travel(n, trip, operation, move |world, written| {
            world.read_rows(n, written.is_some().then_some(began), due);
        });
    }

    fn write_row(&mut self, row: Row) {
        let before = self.rows.0.get(&row.id).filter(|kept| kept.until > self.now);
        let kept = Kept {
            since: before.map_or(self.now, |kept| kept.since),
            written: self.now,
            until: self.now + KEPT - OFF + self.dice.below(2 * OFF),
            row,
        };
        // One that was frozen on its way is older than what stands, and changes nothing.
        let newer = |there: &Kept| there.row.beat > kept.row.beat;
        if !self.rows.0.get(&kept.row.id).is_some_and(newer) {
            self.rows.0.insert(kept.row.id, kept);
        }
    }

    fn read_rows(&mut self, n: usize, written: Option<Time>, due: u64) {
        let reading = self.plane_time(n);
        let trip = self.trip(n);
        let operation = |world: &mut World| {
            let shown = world.now;
            let there = world.rows.0.values().filter(|kept| shown < kept.until);
            there.map(|kept| kept.row.clone()).collect::<Vec<Row>>()
        };
        self.travel(n, trip, operation, move |world, rows| {
            if let Some(rows) = rows {
                world.rows_read(n, &rows, reading, written);
            }
            world.meet_others(n);
            world.at(Actor::Plane(n), due, move |world| world.refresh_row(n));
        });
    }

    /// The own row counts as refreshed once a read that began afterwards shows it.
    fn rows_read(&mut self, n: usize, rows: &[Row], reading: Time, written: Option<Time>) {
        let Some(sharing) = self.sharing(n) else { return };
        let (id, beat) = (sharing.id, sharing.beat);
        let seen = rows.iter().any(|row| row.id == id && row.beat == beat);
        self.hub(n, |hub, now| {
            hub.rows_read(rows, reading, now);
            if let Some(began) = written.filter(|_| seen) {
                hub.row_written(began, now);
            }
        });
    }

    /// Listens to those that are alive, and to nobody else.
    fn meet_others(&mut self, n: usize) {
        let alive = self
            .hub(n, |hub, now| hub.roster().planes().alive(now))
            .unwrap_or_default();
        let now = self.plane_time(n);
        let seed = self.dice.next();
        let Some(sharing) = self.sharing(n) else { return };
        let heard: Vec<PlaneId> = sharing.hearing.keys().copied().collect();
        for (id, url) in &alive {
            sharing.hearing.entry(*id).or_insert_with(|| Hearing {
                listener: Listener::new(*id, seed, now),
                of: url.parse().expect("a plane's number"),
                link: None,
            });
        }
        for gone in heard
            .into_iter()
            .filter(|id| alive.iter().all(|(alive, _)| alive != id))
        {
            self.leave_peer(n, gone);
        }
    }
}

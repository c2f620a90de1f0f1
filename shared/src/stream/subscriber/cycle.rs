//! How something new is taken into use: written, swapped, what it left out retired, acknowledged. One after another.

use std::collections::VecDeque;

use super::{Disk, Output, Subscriber};
use crate::change::Revision;
use crate::model::ServiceName;
use crate::state::State;
use crate::stream::message::{self, Change, Draining, HELD_MAX, Held, Refused, Up, WARMING_MAX, Warming};
use crate::table::Table;
use crate::time::Time;

/// Changes that may wait to be taken in; a connection that brings more is cut, and resumed later.
pub(super) const WAITING_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Cycle {
    stage: Stage,
    /// Not touched yet, in order, each following the one before.
    pub(super) waiting: VecDeque<Change>,
    /// To be taken in before them.
    pub(super) snapshot: Option<State>,
    /// The whole state is to be stored again, after a failure.
    pub(super) recover: bool,
    pub(super) retry_at: Option<Time>,
    pub(super) failure: Option<String>,
}

impl Cycle {
    /// What an earlier connection brought and is not taken in yet is not part of what a hello says; whoever answers that
    /// may hold something else, and sends what is missing.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.snapshot = None;
    }

    /// Whether nothing waits to be taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.snapshot.is_none()
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Waits for the disk.
    Storing(Next),
    /// Waits for `Swapped`.
    Swapping { to: Revision },
    /// Waits for `Retired`.
    Retiring { to: Revision },
}

/// What becomes the table once it is stored.
#[derive(Debug)]
enum Next {
    Changes(Vec<Change>),
    Snapshot,
    /// What is in use already.
    Nothing,
}

impl Subscriber {
    /// The last revision taken in or waiting; what comes next must follow it.
    pub(super) fn received(&self) -> Revision {
        let taken_in = self.cycle.snapshot.as_ref().unwrap_or(&self.state).configured;
        self.cycle.waiting.back().map_or(taken_in, |change| change.to)
    }

    /// Whether all that was taken in is in use.
    pub(super) fn is_settled(&self) -> bool {
        // The snapshot of another store may have the very revision that is in use.
        let under_way = matches!(
            self.cycle.stage,
            Stage::Storing(Next::Snapshot) | Stage::Swapping { .. } | Stage::Retiring { .. }
        );
        self.applied == self.state.configured && !under_way
    }

    /// What was stored is put to use at the start, without being stored again.
    pub(super) fn begin_stored(&mut self, out: &mut Vec<Output>) {
        self.swap_whole(out);
    }

    pub(super) fn next_cycle(&mut self, now: Time, out: &mut Vec<Output>) {
        if !matches!(self.cycle.stage, Stage::Idle) {
            return;
        }
        if let Some(state) = self.cycle.snapshot.take() {
            if state.epoch != self.state.epoch {
                // Revisions of two histories cannot be compared.
                self.applied = Revision::ZERO;
                self.former.come_over();
            }
            self.state = state;
            self.known = true;
            self.store(Next::Snapshot, Output::Save(Box::new(self.state.clone())), now, out);
        } else if !self.cycle.waiting.is_empty() {
            let changes: Vec<Change> = self.cycle.waiting.drain(..).collect();
            let write = Output::Write(changes.clone());
            self.fold(&changes);
            self.store(Next::Changes(changes), write, now, out);
        } else if std::mem::take(&mut self.cycle.recover) {
            self.cycle.stage = Stage::Storing(Next::Nothing);
            out.push(Output::Save(Box::new(self.state.clone())));
        }
    }

    /// A disk that failed is not tried again with every change; it would take its time to fail each time.
    fn store(&mut self, next: Next, how: Output, now: Time, out: &mut Vec<Output>) {
        self.cycle.stage = Stage::Storing(next);
        match self.disk {
            Disk::Good => out.push(how),
            Disk::Lost | Disk::Stuck => self.go_on(now, out),
        }
    }

    fn fold(&mut self, changes: &[Change]) {
        for change in changes {
            self.state.apply_told(&change.ops, change.to);
            self.state.revision = change.to;
            self.state.configured = change.to;
        }
    }

    pub(super) fn stored(&mut self, result: Result<(), String>, now: Time, out: &mut Vec<Output>) {
        match result {
            Err(why) => self.store_failed(why, out),
            Ok(()) => {
                if matches!(self.cycle.stage, Stage::Storing(Next::Nothing)) {
                    self.disk = Disk::Good;
                }
                self.go_on(now, out);
            }
        }
    }

    /// What was to be stored is, or cannot be: into use with it.
    pub(super) fn go_on(&mut self, now: Time, out: &mut Vec<Output>) {
        match std::mem::take(&mut self.cycle.stage) {
            Stage::Storing(Next::Changes(changes)) => self.swap_changes(&changes, out),
            Stage::Storing(Next::Snapshot) => self.swap_whole(out),
            Stage::Storing(Next::Nothing) => {
                self.renew_level();
                self.say_level(now, out);
            }
            other => self.cycle.stage = other,
        }
    }

    fn swap_changes(&mut self, changes: &[Change], out: &mut Vec<Output>) {
        let mut touched: Vec<ServiceName> = Vec::new();
        for change in changes {
            let applied = self.table.apply(&change.ops, change.to);
            self.table = applied.table;
            touched.extend(applied.touched);
        }
        self.table.warm();
        touched.sort();
        touched.dedup();
        self.swap(Some(touched), out);
    }

    fn swap_whole(&mut self, out: &mut Vec<Output>) {
        self.table = Table::of(&self.state).0;
        self.table.warm();
        self.swap(None, out);
    }

    fn swap(&mut self, touched: Option<Vec<ServiceName>>, out: &mut Vec<Output>) {
        self.cycle.stage = Stage::Swapping {
            to: self.state.configured,
        };
        out.push(Output::Swap {
            table: Box::new(self.table.clone()),
            touched,
        });
    }

    pub(super) fn swapped(&mut self, out: &mut Vec<Output>) {
        match std::mem::take(&mut self.cycle.stage) {
            Stage::Swapping { to } => {
                self.cycle.stage = Stage::Retiring { to };
                out.push(Output::Retire);
            }
            other => self.cycle.stage = other,
        }
    }

    pub(super) fn retired(&mut self, draining: Vec<Draining>, now: Time, out: &mut Vec<Output>) {
        match std::mem::take(&mut self.cycle.stage) {
            Stage::Retiring { to } => {
                self.applied = to;
                self.former.retired(&draining);
                self.level.draining = self.former.told(draining);
                self.renew_level();
                self.say_level(now, out);
            }
            other => self.cycle.stage = other,
        }
    }

    /// Makes the level what is in use.
    pub(super) fn renew_level(&mut self) {
        if self.link.epoch().is_some_and(|epoch| epoch != self.state.epoch) {
            // Nothing of the store that listens is in use yet.
            self.level.applied = Revision::ZERO;
        } else if self.may_acknowledge() {
            self.level.applied = self.applied;
        }
        self.level.persisted = self.disk == Disk::Good;
        self.level.refused = self
            .table
            .refused()
            .map(|refusal| Refused {
                object: refusal.object.to_string().into(),
                revision: refusal.revision,
                detail: refusal.cause.to_string(),
            })
            .collect();
        self.level_dirty = true;
    }

    /// What drains is said at once when it is another set, or another part of it is idle, and with the next state when
    /// only counts moved.
    pub(super) fn draining(&mut self, draining: Vec<Draining>, now: Time, out: &mut Vec<Output>) {
        let draining = self.former.told(draining);
        if self.level.draining == draining {
            return;
        }
        let other_set = !is_same_set(&self.level.draining, &draining);
        self.level.draining = draining;
        self.level_dirty = true;
        if other_set {
            self.say_level(now, out);
        }
    }

    /// As for what drains. What a swap has brought is told with the revision that it belongs to.
    pub(super) fn warming(&mut self, mut warming: Vec<Warming>, now: Time, out: &mut Vec<Output>) {
        let more = warming.len().saturating_sub(WARMING_MAX) as u64;
        warming.truncate(WARMING_MAX);
        let same =
            |(a, b): (&Warming, &Warming)| a.registration == b.registration && a.service == b.service && a.id == b.id;
        let level = &mut self.level;
        let pairs = || level.warming.iter().zip(&warming);
        let same_set = level.warming.len() == warming.len() && level.warming_more == more && pairs().all(same);
        self.level_dirty |= !same_set || level.warming != warming;
        level.warming = warming;
        level.warming_more = more;
        if !same_set && matches!(self.cycle.stage, Stage::Idle) {
            self.say_level(now, out);
        }
    }

    /// Said at once when another hold is in force, or another upstream of its service busy; what a swap has brought with
    /// the revision that it belongs to.
    pub(super) fn held(&mut self, mut held: Vec<Held>, now: Time, out: &mut Vec<Output>) {
        held.truncate(HELD_MAX);
        let busy = |a: &Held, b: &Held| a.busy.iter().map(|one| &one.id).eq(b.busy.iter().map(|one| &one.id));
        let same = |(a, b): (&Held, &Held)| a.service == b.service && a.revision == b.revision && busy(a, b);
        let level = &mut self.level;
        let same_set = level.held.len() == held.len() && level.held.iter().zip(&held).all(same);
        self.level_dirty |= !same_set || level.held != held;
        level.held = held;
        if !same_set && matches!(self.cycle.stage, Stage::Idle) {
            self.say_level(now, out);
        }
    }

    /// All of it: what was said before may have been lost.
    pub(super) fn say_level(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.link.may_speak() {
            self.level_dirty = false;
            self.link.said(now);
            out.push(Output::Send(Up::State(message::State {
                sent: now,
                level: Some(self.level.clone()),
            })));
        }
    }
}

fn is_same_set(before: &[Draining], now: &[Draining]) -> bool {
    let same = |a: &Draining, b: &Draining| {
        let is_busy = |one: &Draining| one.in_flight > 0;
        a.registration == b.registration && a.service == b.service && a.id == b.id && is_busy(a) == is_busy(b)
    };
    before.len() == now.len() && now.iter().all(|d| before.iter().any(|old| same(old, d)))
}

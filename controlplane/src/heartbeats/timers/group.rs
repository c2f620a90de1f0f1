//! The registrations of one service that are to be renewed, and how many of them may go.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::time::Time;

use super::beat::{Beat, Stage};
use crate::heartbeats::registration::Registration;

/// Fewer than so many are unregistered.
const MASS_LEAST: usize = 3;
/// More of a service than that within one `ttl` are not.
const MASS_PERCENT: usize = 30;
/// Of those that are gone so many are remembered.
const GONE_MAX: usize = 10_000;

#[derive(Debug)]
pub struct Group {
    pub is_owned: bool,
    pub beats: BTreeMap<Arc<str>, Beat>,
    /// Of those in stage `Lapsed`.
    pub lapsed: usize,
    /// Who was unregistered for its silence, and until when that counts. As long as others are held it counts on, and so
    /// does who was held and then deleted: only who is heard ends a hold.
    gone: BTreeMap<Arc<str>, Time>,
}

impl Group {
    pub fn new(is_owned: bool) -> Group {
        Group {
            is_owned,
            beats: BTreeMap::new(),
            lapsed: 0,
            gone: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.beats.is_empty()
    }

    /// In the place of what was there; a timer stays where it is.
    pub fn put(&mut self, id: &Arc<str>, mut beat: Beat) {
        self.gone.remove(id);
        if let Some(before) = self.beats.get(id) {
            beat.timer = before.timer;
            self.lapsed -= usize::from(before.stage == Stage::Lapsed);
        }
        self.beats.insert(id.clone(), beat);
    }

    /// Its place among the timers.
    pub fn remove(&mut self, id: &Arc<str>, now: Time) -> Option<Time> {
        let beat = self.beats.remove(id)?;
        self.lapsed -= usize::from(beat.stage == Stage::Lapsed);
        let counts_until = match beat.stage {
            Stage::Ending => Some(now + beat.ttl),
            Stage::Lapsed if self.lapsed > 0 => Some(now),
            _ => None,
        };
        if let Some(until) = counts_until.filter(|_| self.gone.len() < GONE_MAX) {
            self.gone.insert(id.clone(), until);
        }
        beat.timer
    }

    pub fn takes_renewal(&self, registration: &Registration, now: Time) -> bool {
        let beat = self.beats.get(&registration.id);
        beat.is_some_and(|beat| {
            beat.revision == registration.revision
                && beat.stage != Stage::Ending
                && beat.promised_until.is_none_or(|until| until <= now)
        })
    }

    pub fn renew(&mut self, id: &str, heard: Time) {
        let Some(beat) = self.beats.get_mut(id) else { return };
        self.lapsed -= usize::from(beat.stage == Stage::Lapsed);
        beat.stage = Stage::Live;
        beat.alive = beat.alive.max(heard);
        beat.heard = beat.heard.max(Some(heard));
        beat.due = beat.due.max(heard + beat.ttl);
    }

    /// Whose time is over.
    pub fn silent(&self, now: Time) -> Vec<Arc<str>> {
        let silent = |(_, beat): &(&Arc<str>, &Beat)| beat.stage == Stage::Live && beat.due <= now;
        self.beats.iter().filter(silent).map(|(id, _)| id.clone()).collect()
    }

    /// Those of `silent` that may go whatever becomes of the others, as they are no mass even with everybody who may have
    /// stopped together with them; and those that have to wait for that.
    pub fn split(&self, silent: Vec<Arc<str>>, size: usize, now: Time) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let others = self
            .beats
            .values()
            .filter(|beat| beat.stage == Stage::Live && now < beat.due);
        let mut others: Vec<Time> = others.map(|beat| beat.alive).collect();
        others.sort_unstable();
        let count = silent.len();
        silent.into_iter().partition(|id| {
            let Some(beat) = self.beats.get(id) else { return false };
            let from = beat.outlived_from();
            let doubtful = others.partition_point(|alive| *alive <= from);
            !self.exceeds(count + doubtful, size)
        })
    }

    /// Whether these, with who is silent already and who was unregistered within one `ttl`, are too many of `size`.
    pub fn is_mass(&mut self, silent: usize, size: usize, now: Time) -> bool {
        if self.lapsed == 0 {
            self.gone.retain(|_, until| now < *until);
        }
        self.exceeds(silent, size)
    }

    fn exceeds(&self, silent: usize, size: usize) -> bool {
        let leaving = self.beats.values().filter(|beat| beat.is_leaving()).count();
        let count = silent + self.lapsed + leaving + self.gone.len();
        let of = size.max(self.beats.len()) + self.gone.len();
        count >= MASS_LEAST && count * 100 > of * MASS_PERCENT
    }

    pub fn ask(&mut self, service: &Arc<str>, id: &Arc<str>) -> Option<Registration> {
        let beat = self.beats.get_mut(id)?;
        beat.stage = Stage::Asking;
        Some(Registration::new(service, id, beat.revision))
    }

    pub fn lapse(&mut self, id: &str) {
        if let Some(beat) = self.beats.get_mut(id) {
            beat.stage = Stage::Lapsed;
            self.lapsed += 1;
        }
    }

    /// The lapsed ones have one more time.
    pub fn release(&mut self, now: Time) -> Vec<Arc<str>> {
        let mut released = Vec::new();
        for (id, beat) in self.beats.iter_mut().filter(|(_, beat)| beat.stage == Stage::Lapsed) {
            beat.stage = Stage::Live;
            beat.due = now + beat.ttl;
            released.push(id.clone());
        }
        self.lapsed = 0;
        released
    }

    /// All have; but for those that the log may let go of at any moment, and those that are held anyway.
    pub fn begin_anew(&mut self, now: Time) -> Vec<Arc<str>> {
        if self.lapsed == 0 {
            self.gone.clear();
        }
        let stays = |stage| matches!(stage, Stage::Ending | Stage::Lapsed);
        let mut begun = Vec::new();
        for (id, beat) in self.beats.iter_mut().filter(|(_, beat)| !stays(beat.stage)) {
            beat.stage = Stage::Live;
            beat.due = now + beat.ttl;
            begun.push(id.clone());
        }
        begun
    }

    /// It is another's. The places that were taken among the timers.
    pub fn stop(&mut self) -> Vec<(Arc<str>, Time)> {
        self.gone.clear();
        self.lapsed = 0;
        let mut stopped = Vec::new();
        for (id, beat) in &mut self.beats {
            if beat.stage != Stage::Ending {
                beat.stage = Stage::Live;
            }
            stopped.extend(beat.timer.take().map(|at| (id.clone(), at)));
        }
        stopped
    }
}

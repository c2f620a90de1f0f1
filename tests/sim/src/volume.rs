//! A store's medium in memory, what its log truly holds, and what was promised on it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controlplane::store::core::Core;
use dataplane::upstream::endpoint::Identity;
use redb::StorageBackend;
use shared::change::{Commit, Epoch, Kind, ObjectKey, Op, Revision, Verb};
use shared::digest::Digest;
use shared::model::Upstream;
use shared::state::State;
use shared::stream::roster::Member;

use crate::dice::Dice;
use crate::oracle::Ledger;

#[derive(Debug, Default)]
struct Image {
    bytes: Vec<u8>,
    /// Handles of an earlier one belong to a process that is dead.
    generation: u64,
    /// The medium fails after so many writes.
    writes_left: Option<u64>,
}

/// What one process has opened.
#[derive(Debug)]
struct Handle {
    image: Arc<Mutex<Image>>,
    generation: u64,
}

impl Handle {
    fn image(&self) -> io::Result<MutexGuard<'_, Image>> {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        match image.generation == self.generation {
            true => Ok(image),
            false => Err(io::Error::other("this process is dead")),
        }
    }

    fn written(&self) -> io::Result<MutexGuard<'_, Image>> {
        let mut image = self.image()?;
        match &mut image.writes_left {
            Some(0) => return Err(io::Error::other("the medium fails")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(image)
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let image = self.image()?;
        let from = offset as usize;
        let there = image.bytes.get(from..from + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written()?.bytes.resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.written().map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.written()?;
        let from = offset as usize;
        match image.bytes.get_mut(from..from + data.len()) {
            Some(place) => place.copy_from_slice(data),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}

pub struct Volume {
    /// As whoever runs on it has opened it.
    core: Option<Core>,
    image: Arc<Mutex<Image>>,
    fresh: Epoch,
    /// All that it was called, oldest first.
    pub epochs: Vec<Epoch>,
    /// Those that it was ever let succeed.
    pub consents: BTreeSet<Epoch>,
    /// What stands after each revision; the index is the revision.
    states: Vec<State>,
    commits: Vec<Arc<Commit>>,
    /// True time of each revision's commit.
    committed: Vec<u64>,
    /// Counts how often the store went back.
    pub history: u64,
    /// It went back, and was called so then.
    pub went_back: Option<Epoch>,
    backups: BTreeMap<Revision, Vec<u8>>,
    pub ledger: Ledger,
}

impl Volume {
    pub fn new(fresh: Epoch) -> Volume {
        Volume {
            core: None,
            image: Arc::default(),
            fresh,
            epochs: vec![fresh],
            consents: BTreeSet::new(),
            states: vec![State::empty(fresh)],
            commits: Vec::new(),
            committed: vec![0],
            history: 0,
            went_back: None,
            backups: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    /// By a new process; the last one is dead.
    pub fn open(&mut self) {
        let generation = self.kill();
        let handle = Handle {
            image: self.image.clone(),
            generation,
        };
        let core = Core::with_backend(handle, self.fresh);
        self.core = Some(core.expect("whatever happened to its process, the store opens"));
    }

    pub fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    /// The process that has it open dies.
    pub fn kill(&mut self) -> u64 {
        self.core = None;
        let mut image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        image.generation += 1;
        image.writes_left = None;
        image.generation
    }

    pub fn fail_after(&mut self, writes: u64) {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).writes_left = Some(writes);
    }

    /// Learns what was appended. Gives the new commits.
    pub fn look(&mut self, now: u64) -> Vec<Arc<Commit>> {
        let Some(core) = &self.core else { return Vec::new() };
        let new: Vec<_> = core
            .read(self.head(), usize::MAX)
            .unwrap_or_default()
            .into_iter()
            .map(Arc::new)
            .collect();
        for commit in &new {
            let mut state = self.at(self.head()).clone();
            state.apply(commit).expect("the log has no gap");
            if !self.epochs.contains(&state.epoch) {
                self.epochs.push(state.epoch);
            }
            self.consents.extend(state.succeeds());
            self.states.push(state);
            self.committed.push(now);
            self.commits.push(commit.clone());
        }
        new
    }

    pub fn back_up(&mut self) {
        let bytes = self.image.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone();
        self.backups.insert(self.head(), bytes);
        if self.backups.len() > 3 {
            self.backups.pop_first();
        }
    }

    /// Puts one of the backups in its place; its process must be dead. Whether there was one that is older.
    pub fn go_back(&mut self, dice: &mut Dice) -> bool {
        let older: Vec<Revision> = self
            .backups
            .range(..self.head())
            .map(|(revision, _)| *revision)
            .collect();
        if older.is_empty() {
            return false;
        }
        let revision = dice.one(&older);
        // What was backed up since is of the history that is lost.
        let mut lost = self.backups.split_off(&revision);
        let Some(bytes) = lost.remove(&revision) else {
            return false;
        };
        self.image.lock().unwrap_or_else(PoisonError::into_inner).bytes = bytes;
        self.states.truncate(revision.0 as usize + 1);
        self.commits.truncate(revision.0 as usize);
        self.committed.truncate(self.states.len());
        self.history += 1;
        self.went_back = Some(self.now().epoch);
        self.ledger = Ledger::default();
        true
    }

    pub fn head(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    pub fn now(&self) -> &State {
        self.at(self.head())
    }

    pub fn at(&self, revision: Revision) -> &State {
        &self.states[revision.0 as usize]
    }

    pub fn committed_at(&self, revision: Revision) -> u64 {
        self.committed[revision.0 as usize]
    }

    pub fn commits(&self) -> &[Arc<Commit>] {
        &self.commits
    }

    pub fn knows(&self, revision: Revision) -> bool {
        revision <= self.head()
    }

    /// Whether someone with this configuration has followed this very log.
    pub fn holds(&self, revision: Revision, digest: Digest) -> bool {
        self.knows(revision) && self.at(revision).digest == digest
    }

    /// Whether this very log has that registration; one of another history may bear the same number.
    pub fn began(&self, identity: &Identity) -> bool {
        let (service, id) = (identity.service.as_str(), identity.id.as_str());
        let registered = || self.at(identity.registration).get(&ObjectKey::upstream(service, id));
        let object = self.knows(identity.registration).then(registered).flatten();
        object.is_some_and(|object| {
            let upstream = Upstream::parse(service, id, object.body.as_str());
            let same_address = upstream.is_ok_and(|upstream| upstream.address == identity.address);
            object.registration == Some(identity.registration) && same_address
        })
    }

    /// The members from a revision until now, without a break: who left is bound to nothing, also if it came back.
    pub fn stayed(&self, since: Revision) -> Vec<(Arc<str>, Member)> {
        let later = &self.commits[since.0 as usize..];
        let keeps = |op: &Op, member: &Member| {
            let body = op.body.as_ref().filter(|_| op.verb == Verb::Put);
            let put: Option<Member> = body.and_then(|body| serde_json::from_str(body.as_str()).ok());
            put.is_some_and(|put| put.instance == member.instance)
        };
        let mut members = self.members(since);
        members.retain(|(name, member)| {
            let mut ops = later.iter().flat_map(|commit| &commit.ops);
            ops.all(|op| op.kind != Kind::Member || op.key != *name || keeps(op, member))
        });
        members
    }

    /// The roster at a revision.
    pub fn members(&self, revision: Revision) -> Vec<(Arc<str>, Member)> {
        let objects = self.at(revision).objects.iter();
        objects
            .filter(|(key, _)| key.kind == Kind::Member)
            .filter_map(|(key, object)| Some((key.key.clone(), serde_json::from_str(object.body.as_str()).ok()?)))
            .collect()
    }
}

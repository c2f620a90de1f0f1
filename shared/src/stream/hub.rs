//! One control plane's side of all its streams together: the roster, the ring, and the writes that wait.
//!
//! Whatever happens goes through here in one order: a commit reaches the ring and the roster before the write that made
//! it begins to wait, a join before its welcome, a level before the waits that it may end.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::Duration;

use crate::change::{Commit, Epoch, Kind, Revision};
use crate::state::State;
use crate::stream::message::{self, Hello, Level, SnapshotOffer, Welcome};
use crate::stream::planes::message::Told;
use crate::stream::planes::{PlaneId, Planes, Row};
use crate::stream::ring::{Chunk, Cursor, Meeting, Overrun, Point, Ring};
use crate::stream::roster::{Admission, Forget, Heard, LEASE_MAX, LEASE_MIN, Roster, RosterEvent, SessionId, Slot};
use crate::stream::wait::{Progress, Report, Wait, WaitSpec};
use crate::time::Time;

pub mod refusal;
mod sharing;
pub mod view;

pub use refusal::Refusal;
pub use view::{Member, MemberView, Presence};

/// Where a proxy fetches what it was offered.
pub const SNAPSHOT_PATH: &str = "/v1/snapshot?scope=configuration";
/// An offer is made again to others for so long, and so many changes: a herd shares one snapshot.
const OFFER_AGE_MAX: Duration = Duration::from_secs(10);
const OFFER_CHANGES_MAX: u64 = 10_000;
/// Bytes of a proxy's name.
const NAME_MAX: usize = 253;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId {
    /// The configuration revision that it asks for.
    applied: Revision,
    number: u64,
}

/// What others must be told after a call.
#[derive(Debug, Default)]
pub struct News {
    /// There is something to send to every connection.
    pub changed: bool,
    /// There may be something to tell other control planes.
    pub told: bool,
    /// These connections must end: another speaks for their member, or it is none any more.
    pub closed: Vec<SessionId>,
    /// These writes may answer.
    pub finished: Vec<(WaitId, Report)>,
}

/// What a hello leads to.
#[derive(Debug, PartialEq)]
pub enum Greeting {
    Enter,
    /// Commit it to the roster first.
    Join {
        replaces: Option<uuid::Uuid>,
    },
    Refuse(Refusal),
}

/// A connection that speaks for a member now.
#[derive(Debug)]
pub struct Entered {
    pub slot: Slot,
    pub session: SessionId,
    pub welcome: Welcome,
    /// What it must fetch before the changes from `cursor` on are of use to it.
    pub offer: Option<SnapshotOffer>,
    pub cursor: Cursor,
}

#[derive(Debug)]
struct Offer {
    point: Point,
    cursor: Cursor,
    made: Time,
}

#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    succeeds: Vec<Epoch>,
    revision: Revision,
    ring: Ring,
    roster: Roster,
    /// By the configuration revision that they ask for: an acknowledgement looks only at those it may concern.
    waits: BTreeMap<WaitId, Wait>,
    last_wait: u64,
    offer: Option<Offer>,
    news: News,
}

impl Hub {
    /// `tail`: the commits that led to `state`, oldest first, as many as are at hand. `own`: the name among others, on a
    /// store that other control planes write to as well.
    pub fn new<'a, I>(state: &State, tail: I, own: Option<PlaneId>, now: Time) -> Hub
    where
        I: IntoIterator<Item = &'a Commit> + Clone,
        I::IntoIter: DoubleEndedIterator,
    {
        let planes = own.map_or_else(Planes::default, Planes::among);
        Hub {
            epoch: state.epoch,
            succeeds: state.succeeds(),
            revision: state.revision,
            ring: Ring::new(state, tail.clone()),
            roster: Roster::new(state, tail, planes, now),
            waits: BTreeMap::new(),
            last_wait: 0,
            offer: None,
            news: News::default(),
        }
    }

    /// To be asked for after every call that changes something, and acted on.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The head of the log.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The head of what proxies are told.
    pub fn configured(&self) -> Point {
        self.ring.head()
    }

    /// Every commit, in order; `state` is what stands after it.
    pub fn committed(&mut self, commit: &Commit, state: &State, now: Time) {
        self.revision = commit.revision;
        self.news.told = true;
        if commit.is_configuration() {
            self.ring.push(commit, state);
            self.news.changed = true;
        }
        if commit.ops.iter().any(|op| op.kind == Kind::Succession) {
            self.succeeds = state.succeeds();
        }
        self.roster.committed(commit, now);
        if self.epoch != state.epoch {
            self.epoch = state.epoch;
            self.offer = None;
            self.roster.close_all(now);
        }
        self.settle(now);
    }

    /// Every 250 ms, whatever else happens.
    pub fn tick(&mut self, now: Time) {
        self.roster.tick(now);
        self.settle(now);
        self.advance(.., Progress::Tick, now);
    }

    /// Carries what changed on the roster to those who must know.
    fn settle(&mut self, now: Time) {
        for event in self.roster.take_events() {
            match event {
                RosterEvent::Closed(session) => self.news.closed.push(session),
                RosterEvent::Gone(slot) => self.advance(.., Progress::Gone(slot), now),
            }
        }
    }

    fn advance(&mut self, range: impl RangeBounds<WaitId>, progress: Progress, now: Time) {
        let already = self.news.finished.len();
        for (id, wait) in self.waits.range_mut(range) {
            if let Some(report) = wait.handle(progress, &self.roster, now) {
                self.news.finished.push((*id, report));
            }
        }
        self.news.finished[already..].iter().for_each(|(id, _)| {
            self.waits.remove(id);
        });
    }

    /// What a hello leads to; nothing has changed yet.
    pub fn greet(&mut self, hello: &Hello, now: Time) -> Greeting {
        if let Some(refusal) = self.unfit(hello) {
            return Greeting::Refuse(refusal);
        }
        match self.roster.admit(hello, now) {
            Admission::Member => Greeting::Enter,
            Admission::Join { replaces } => Greeting::Join { replaces },
            Admission::Held { wait } => Greeting::Refuse(Refusal::Held { wait }),
            Admission::OlderBoot { known } => Greeting::Refuse(Refusal::OlderBoot { known }),
        }
    }

    fn unfit(&self, hello: &Hello) -> Option<Refusal> {
        let name = &hello.name;
        if name.is_empty() || name.len() > NAME_MAX || name.contains(|c: char| c == '/' || c.is_control()) {
            return Some(Refusal::Name);
        }
        let lease = Duration::from_millis(hello.lease_ms);
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            return Some(Refusal::Lease);
        }
        let epoch = hello.epoch?;
        if epoch != self.epoch {
            let other = Refusal::OtherEpoch {
                ours: self.epoch,
                theirs: epoch,
            };
            return (!self.succeeds.contains(&epoch)).then_some(other);
        }
        match self.ring.meet(hello.since, hello.digest) {
            Meeting::Ahead => Some(Refusal::Ahead {
                since: hello.since,
                head: self.ring.head().revision,
            }),
            Meeting::Diverged => Some(Refusal::Diverged { since: hello.since }),
            Meeting::At(_) | Meeting::Before => None,
        }
    }

    /// Lets a proxy in that is on the roster; answers anything else than `Enter` as [`Hub::greet`] would.
    pub fn enter(&mut self, hello: &Hello, now: Time) -> Result<Entered, Greeting> {
        match self.greet(hello, now) {
            Greeting::Enter => {}
            other => return Err(other),
        }
        let Some((slot, session)) = self.roster.attach(hello, now) else {
            return Err(Greeting::Join { replaces: None });
        };
        self.settle(now);
        self.news.told = true;
        let (cursor, offer) = self.resume(hello, now);
        let welcome = Welcome {
            epoch: self.epoch,
            succeeds: self.succeeds.clone(),
            head: self.ring.head().revision,
            current: self.roster.planes().is_alone(),
            leased: self.roster.planes().is_alone(),
        };
        Ok(Entered {
            slot,
            session,
            welcome,
            offer,
            cursor,
        })
    }

    /// From where a proxy goes on, and the snapshot that it needs for that. Without a table of this epoch it needs one,
    /// however short the log is: that is how it learns the epoch and keeps it.
    fn resume(&mut self, hello: &Hello, now: Time) -> (Cursor, Option<SnapshotOffer>) {
        if hello.epoch == Some(self.epoch)
            && !hello.resync
            && let Meeting::At(cursor) = self.ring.meet(hello.since, hello.digest)
        {
            return (cursor, None);
        }
        let not_before = (hello.epoch == Some(self.epoch)).then_some(hello.since);
        let (point, cursor) = self.offered(not_before, now);
        let path = SNAPSHOT_PATH.to_owned();
        (
            cursor,
            Some(SnapshotOffer {
                revision: point.revision,
                path,
                digest: point.digest,
            }),
        )
    }

    fn offered(&mut self, not_before: Option<Revision>, now: Time) -> (Point, Cursor) {
        let end = self.ring.end();
        if let Some(offer) = &self.offer {
            let young = now.since(offer.made) < OFFER_AGE_MAX && offer.cursor.distance(end) < OFFER_CHANGES_MAX;
            let served = self.ring.at(offer.cursor).is_some();
            if young && served && not_before.is_none_or(|since| offer.point.revision >= since) {
                return (offer.point, offer.cursor);
            }
        }
        let point = self.ring.head();
        self.offer = Some(Offer {
            point,
            cursor: end,
            made: now,
        });
        (point, end)
    }

    /// A snapshot that is handed out must be at this revision or later: connections were told to go on from there.
    pub fn offered_revision(&self) -> Revision {
        self.offer.as_ref().map_or(Revision::ZERO, |offer| offer.point.revision)
    }

    pub fn chunk(&mut self, cursor: Cursor) -> Result<Option<Chunk>, Overrun> {
        self.ring.chunk(cursor)
    }

    /// What was told to a connection that was served up to the cursor.
    pub fn told(&self, cursor: Cursor) -> Option<Point> {
        self.ring.at(cursor)
    }

    /// A state of a proxy; answers whether its connection still counts.
    pub fn state(&mut self, slot: Slot, session: SessionId, state: message::State, now: Time) -> bool {
        match self.roster.heard(slot, session, state.level, now) {
            None => false,
            Some(Heard::Bare) => true,
            Some(Heard::Level { before }) => {
                self.acknowledged(slot, before, now);
                true
            }
        }
    }

    fn acknowledged(&mut self, slot: Slot, before: Option<Level>, now: Time) {
        let level = self.roster.peer(slot).and_then(|peer| peer.level()).cloned();
        if let Some(level) = level {
            self.advanced(slot, before, &level, now);
        }
        self.news.told = true;
    }

    fn advanced(&mut self, slot: Slot, before: Option<Level>, level: &Level, now: Time) {
        let from = match before {
            Some(before) if before.differs_in_revision_only(level) => before.applied.next(),
            _ => Revision::ZERO,
        };
        let to = level.applied;
        if from <= to {
            let asked = WaitId {
                applied: from,
                number: 0,
            }..=WaitId {
                applied: to,
                number: u64::MAX,
            };
            self.advance(asked, Progress::Acknowledged(slot), now);
        }
    }

    /// A proxy says goodbye: until that is committed, or could not be, nobody is welcomed under its name.
    pub fn farewell(&mut self, slot: Slot, session: SessionId, now: Time) {
        self.roster.farewell(slot, session, now);
        self.news.told = true;
    }

    pub fn detach(&mut self, slot: Slot, session: SessionId, now: Time) {
        self.roster.detach(slot, session, now);
    }

    /// Begins to wait, unless it is over already.
    pub fn wait(&mut self, spec: WaitSpec, now: Time) -> Result<WaitId, Box<Report>> {
        self.roster.pulse(now);
        let applied = self.ring.configured_at(spec.revision);
        let mut wait = Wait::begin(spec, applied, &self.roster, now);
        if let Some(report) = wait.handle(Progress::Tick, &self.roster, now) {
            return Err(Box::new(report));
        }
        self.last_wait += 1;
        let id = WaitId {
            applied,
            number: self.last_wait,
        };
        self.waits.insert(id, wait);
        Ok(id)
    }

    /// The caller waits no longer: how things stand. `None` when it was over before.
    pub fn give_up(&mut self, id: WaitId, now: Time) -> Option<Report> {
        self.roster.pulse(now);
        let mut wait = self.waits.remove(&id)?;
        wait.handle(Progress::Deadline, &self.roster, now)
    }

    pub fn waiting(&self) -> usize {
        self.waits.len()
    }

    pub fn forget(&mut self, name: &str, now: Time) -> Forget {
        self.roster.forget(name, now)
    }
}

#[cfg(test)]
mod tests;

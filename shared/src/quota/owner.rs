//! An owner: one incarnation of a control plane, which grants the tokens of the shards that it claimed.
//!
//! ```text
//!   shard   (none) ── wanted ─▶ reading ─▶ claiming ── swapped ─▶ held ⇄ extending ── lost, unwanted ─▶ (none)
//!   counts                                              blind ── all proxies said what they spent ─▶ exact
//! ```
//!
//! Until a claim's predecessor handed over or every proxy answered the census, all that may have been granted before
//! counts as spent: so a successor may be hasty, and one that nobody listens to does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::cell::{CellKey, CellValue, Outcome};
use super::message::{BATCH_MAX, Down, Handover, ProxyId, Said, Shard, Told, UNMET, Up};
use super::{DELTA, Label, LabelClock, Reading, Rules, Settings, shrink};
use crate::time::Time;

mod account;
mod ahead;
mod census;
mod claim;
mod history;
mod observe;
mod peer;
mod permits;
mod refund;
mod serve;
mod silence;
mod skip;
mod standby;
mod testament;
mod usage;

use claim::Held;
use history::History;
use peer::{Numbers, Peer};
use standby::Restless;

pub use usage::{InFlight, Span, Usage};

/// What happens to an owner.
#[derive(Clone, Debug)]
pub enum Input {
    /// At least every 20 ms: what became due.
    Tick,
    /// The shards that this control plane should own, a bit for each.
    Shards(u64),
    /// The limits of a newer table.
    Rules(Rules),
    Message(Up),
    Cell {
        key: CellKey,
        outcome: Outcome,
    },
    /// The proxies on the roster, whenever it changes. Others are granted nothing.
    Members(BTreeSet<Uuid>),
    /// A proxy left; nothing of it goes on.
    Goodbye(Uuid),
    /// The answer to [`Output::ReadRoster`]: as of a read of the log's head that was begun after it.
    Roster {
        shard: Shard,
        roster: Roster,
    },
    Handover(Handover),
    /// The label time of another owner, which it told on being asked at `asked`.
    Other {
        owner: Uuid,
        label: Label,
        asked: Time,
    },
    /// The control plane stops: everything is handed over.
    Leave,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Instances.
    pub members: BTreeSet<Uuid>,
    /// Who left within [`Settings::forget_after`].
    pub left: Vec<Departure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    pub instance: Uuid,
    /// By the wall clock of the control plane that committed it.
    pub at: Label,
    /// It said goodbye: nothing of it goes on.
    pub goodbye: bool,
}

/// What an owner asks of its control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send(Down),
    Get(CellKey),
    Swap {
        key: CellKey,
        expected: Option<CellValue>,
        new: CellValue,
    },
    ReadRoster(Shard),
    /// To every other control plane.
    Handover(Handover),
    /// This incarnation grants nothing any more. Begin a new one, with this floor.
    Resign {
        floor: (Label, Time),
    },
}

#[derive(Debug)]
pub struct Owner {
    incarnation: Uuid,
    settings: Settings,
    clock: LabelClock,
    mono: Time,
    now: Label,
    /// How far label time is before the wall clock: one that has fallen back.
    ahead: Duration,
    wanted: u64,
    history: History,
    members: BTreeSet<Uuid>,
    peers: BTreeMap<Uuid, Peer>,
    /// Of proxies that were forgotten. One that is back goes on behind them: no number means two things.
    numbers: Numbers,
    restless: Restless,
    held: BTreeMap<Shard, Held>,
    others: BTreeMap<Uuid, Heard>,
    resigned: bool,
    /// Of predecessors of claims that are not made yet.
    handovers: BTreeMap<Shard, Handover>,
    operations: u64,
    /// Of the last level of permits, to whichever proxy.
    levels: u64,
    outputs: Vec<Output>,
}

/// What was heard of another owner's label time.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// How far it was ahead of this one's, nanoseconds: at least, and at most.
    ahead: (i64, i64),
    at: Time,
}

/// Word of another owner's label time is forgotten after so many beats.
const OTHERS_BEATS: u32 = 10;

impl Owner {
    /// `incarnation` was never used before. `floor`: what label time certainly had reached, and when by this machine's
    /// monotonic clock; zeros when nothing is known.
    pub fn new(incarnation: Uuid, settings: Settings, reading: Reading, floor: (Label, Time)) -> Owner {
        let mut clock = LabelClock::start(reading, floor);
        Owner {
            incarnation,
            settings,
            now: clock.read(reading),
            ahead: Duration::ZERO,
            clock,
            mono: reading.mono,
            wanted: 0,
            history: History::new(settings.forget_after),
            members: BTreeSet::new(),
            peers: BTreeMap::new(),
            numbers: Numbers::default(),
            restless: Restless::default(),
            held: BTreeMap::new(),
            others: BTreeMap::new(),
            resigned: false,
            handovers: BTreeMap::new(),
            operations: 0,
            levels: 0,
            outputs: Vec::new(),
        }
    }

    pub fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Label time, as of the last input.
    pub fn label(&self) -> Label {
        self.now
    }

    /// The epochs of the shards that are held, for proxies that this control plane welcomes.
    pub fn epochs(&self) -> impl Iterator<Item = (Shard, u64)> + '_ {
        self.held
            .iter()
            .filter_map(|(shard, held)| Some((*shard, held.epoch()?)))
    }

    /// The life of a proxy that was heard last; none, or [`UNMET`]: none was.
    pub fn met(&self, instance: Uuid) -> Option<u64> {
        self.peers.get(&instance).map(|peer| peer.id.boot)
    }

    pub fn handle(&mut self, input: Input, reading: Reading) -> Vec<Output> {
        if self.resigned {
            return Vec::new();
        }
        self.now = self.clock.read(reading);
        self.ahead = self.now.since(Label::from_nanos(reading.wall));
        self.mono = self.mono.max(reading.mono);
        if self.clock.is_left_behind(reading) {
            self.resign(Label::ZERO);
            return std::mem::take(&mut self.outputs);
        }
        match input {
            Input::Tick => self.tick(reading),
            Input::Shards(wanted) => self.want_shards(wanted),
            Input::Rules(rules) => self.replace_rules(rules),
            Input::Message(up) => self.message(up),
            Input::Cell { key, outcome } => self.cell(key, outcome),
            Input::Members(members) => self.replace_members(members),
            Input::Goodbye(instance) => self.goodbye(instance),
            Input::Roster { shard, roster } => self.roster(shard, &roster),
            Input::Handover(handover) => self.handed_over(handover),
            Input::Other { owner, label, asked } => self.other(owner, label, asked),
            Input::Leave => self.leave(),
        }
        self.flush();
        std::mem::take(&mut self.outputs)
    }

    fn tick(&mut self, reading: Reading) {
        self.check_others(reading);
        if self.resigned {
            return;
        }
        self.tick_claims();
        self.tick_standbys();
        self.beat();
        self.tick_accounts();
        self.tick_permits();
    }

    fn resign(&mut self, floor: Label) {
        self.resigned = true;
        self.held.clear();
        self.outputs.clear();
        let floor = (floor, self.mono);
        self.outputs.push(Output::Resign { floor });
    }

    fn leave(&mut self) {
        self.want_shards(0);
        self.flush();
        self.resigned = true;
    }

    /// Two owners' label times must not be far apart. The one that is behind the middle goes there; the one before it
    /// has to wait for the others.
    fn other(&mut self, owner: Uuid, label: Label, asked: Time) {
        // Told between the asking and now; what the way took is not known better than that.
        let (at, way) = (self.mono, self.mono.since(asked));
        if way <= DELTA {
            let least = label.as_nanos() as i64 - self.now.as_nanos() as i64;
            let ahead = (least, least + way.as_nanos() as i64);
            self.others.insert(owner, Heard { ahead, at });
        }
    }

    fn check_others(&mut self, reading: Reading) {
        let (mono, lasts) = (self.mono, self.settings.beat * OTHERS_BEATS);
        self.others.retain(|_, heard| mono.since(heard.at) < lasts);
        let middle = self.middle(|heard| heard.ahead.0);
        if middle > DELTA.as_nanos() as i64 {
            self.resign(self.now.after(Duration::from_nanos(middle as u64)));
        } else if self.is_astray() && self.clock.is_ahead(reading) {
            // To theirs, and no further: they may be before the wall clock, too, and would send it forward again.
            let back = Duration::from_nanos(self.middle(|heard| heard.ahead.1).unsigned_abs());
            self.resign(self.now.before(back));
        }
    }

    /// How far the middle of all label times is ahead of this one. Of two, the later: label time does not go back.
    fn middle(&self, ahead: impl Fn(&Heard) -> i64) -> i64 {
        let mut ahead: Vec<i64> = self.others.values().map(ahead).chain([0]).collect();
        ahead.sort_unstable();
        ahead[ahead.len() / 2]
    }

    /// Whether it is surely far before the others': those that only seem far behind no proxy sends forward.
    fn is_astray(&self) -> bool {
        self.middle(|heard| heard.ahead.1) < -(DELTA.as_nanos() as i64)
    }

    fn message(&mut self, up: Up) {
        if up.to != self.incarnation || !self.meet(up.from) {
            return;
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&up.from.instance) else {
            return;
        };
        let newest = up.number > peer.heard;
        if newest {
            (peer.heard, peer.heard_at) = (up.number, now);
        }
        for said in up.items {
            match said {
                Said::Want(want) if newest => self.wanted(up.from.instance, want),
                Said::Want(_) => {}
                Said::Return {
                    id,
                    used,
                    unspent,
                    age,
                    earlier,
                    unsettled,
                } => {
                    let until = |age| now.before(shrink(age));
                    let earlier = earlier.into_iter().map(|(tokens, age)| (tokens, until(age)));
                    let spent = earlier.chain([(used, until(age))]);
                    self.returned(up.from.instance, id, (unspent, unsettled), spent);
                }
                Said::Refund { id, tokens } => self.refunded(up.from.instance, id, tokens),
                Said::Beat {
                    promised,
                    idle,
                    by,
                    began,
                    standby,
                    heir,
                } => {
                    let beat = standby::Beat {
                        heard: up.heard,
                        revision: up.revision,
                        promised,
                        used: idle.map(|idle| (now.before(shrink(idle)), by)),
                        began: began.map(|age| now.before(shrink(age))),
                    };
                    self.heard_beat(up.from, beat, &standby);
                    self.bequeath(up.from.instance, &heir);
                }
                Said::Census {
                    shard,
                    epoch,
                    knows,
                    began,
                    earliest,
                    oldest,
                    uses,
                    weight,
                    permits,
                    inherited,
                } => {
                    let answer = census::Answer {
                        knows: knows.map(|age| now.before(shrink(age))),
                        began: began.map(|age| now.before(shrink(age))),
                        earliest,
                        oldest,
                        uses,
                        weight,
                        permits,
                        inherited,
                    };
                    self.counted(up.from, shard, epoch, answer);
                }
                Said::Behind { label } if label > now => {
                    self.resign(label);
                    return;
                }
                Said::Behind { .. } => {}
                Said::Seen(seen) if newest => self.seen(up.from.instance, &seen),
                Said::Seen(_) => {}
                Said::Permits(report) => self.permits_reported(up.from.instance, &report),
            }
        }
    }

    /// Whether this life of a proxy is no earlier one. A later one owes nothing for what the earlier one held.
    fn meet(&mut self, id: ProxyId) -> bool {
        match self.peers.get(&id.instance).map(|peer| peer.id.boot) {
            Some(boot) if boot > id.boot => return false,
            Some(boot) if boot == id.boot => {}
            Some(UNMET) => {
                if let Some(peer) = self.peers.get_mut(&id.instance) {
                    peer.id = id;
                }
                self.end_ghosts(id);
            }
            former => {
                if former.is_some() {
                    self.bury(id.instance, true);
                    self.forget(id.instance);
                    self.permits_begin_anew(&id.instance);
                }
                self.end_ghosts(id);
                self.peers.insert(id.instance, Peer::new(id, self.numbers));
                self.restless.add(id.instance);
            }
        }
        true
    }

    fn replace_members(&mut self, members: BTreeSet<Uuid>) {
        let gone: Vec<Uuid> = self
            .peers
            .keys()
            .filter(|instance| !members.contains(instance))
            .copied()
            .collect();
        self.members = members;
        for instance in gone {
            self.bury(instance, false);
            self.forget(instance);
            self.permits_ended(&instance);
        }
        for instance in &self.members {
            let unmet = ProxyId {
                instance: *instance,
                boot: UNMET,
            };
            let numbers = self.numbers;
            self.restless.add(*instance);
            self.peers.entry(*instance).or_insert_with(|| Peer::new(unmet, numbers));
        }
    }

    fn goodbye(&mut self, instance: Uuid) {
        self.bury(instance, true);
        self.members.remove(&instance);
        self.forget(instance);
        self.permits_ended(&instance);
    }

    fn forget(&mut self, instance: Uuid) {
        if let Some(peer) = self.peers.remove(&instance) {
            self.numbers = self.numbers.max(peer.numbers());
        }
    }

    fn tell(&mut self, instance: Uuid, told: Told) {
        if let Some(peer) = self.peers.get_mut(&instance) {
            peer.outbox.push(told);
        }
    }

    fn beat(&mut self) {
        let shards: Vec<(Shard, u64)> = self.epochs().collect();
        if shards.is_empty() {
            return;
        }
        for instance in self.members.clone() {
            let now = self.now;
            let Some(peer) = self.peers.get_mut(&instance) else {
                continue;
            };
            if now.since(peer.beat_at) >= self.settings.beat {
                peer.beat_at = now;
                let shards = shards.clone();
                peer.outbox.push(Told::Beat { shards });
            }
        }
    }

    /// Whether it has claims, and none that is not over.
    fn is_powerless(&self) -> bool {
        let mut claims = self.held.values().filter_map(|held| held.claim).peekable();
        claims.peek().is_some() && claims.all(|claim| claim.to <= self.now)
    }

    fn flush(&mut self) {
        let now = self.now;
        let is_powerless = self.is_powerless();
        for peer in self.peers.values_mut().filter(|peer| !peer.outbox.is_empty()) {
            let mut told = std::mem::take(&mut peer.outbox);
            while !told.is_empty() {
                let rest = told.split_off(told.len().min(BATCH_MAX));
                let mut items = std::mem::replace(&mut told, rest);
                if is_powerless {
                    items.push(Told::Powerless);
                }
                self.outputs.push(Output::Send(Down {
                    from: self.incarnation,
                    to: peer.id,
                    number: peer.next_number(now),
                    heard: peer.heard,
                    heard_at: peer.heard_at,
                    now,
                    items,
                }));
            }
        }
    }

    fn next_operation(&mut self) -> Uuid {
        self.operations += 1;
        Uuid::from_u128(
            self.incarnation
                .as_u128()
                .wrapping_add(u128::from(self.operations) << 64),
        )
    }
}

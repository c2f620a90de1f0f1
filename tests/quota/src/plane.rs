//! A control plane around its owner: what the shell of the binary does, without a network.

use std::collections::BTreeSet;

use shared::change::Revision;
use shared::quota::owner::{Input, Output, Roster};
use shared::quota::{CellKey, Down, Handover, Label, Outcome, Owner, SHARDS, Up};
use shared::time::Time;
use uuid::Uuid;

use crate::clock::Clock;
use crate::dice::{Dice, MILLI};
use crate::world::World;

pub struct Plane {
    pub owner: Option<Owner>,
    pub clock: Clock,
    /// Counts its starts.
    pub life: u64,
    /// It does nothing before; what is for it waits.
    pub paused_until: u64,
    pub shards: u64,
    /// Of the table that its owner goes by.
    pub rules: Revision,
}

const TICK: u64 = 15 * MILLI;

impl Plane {
    pub fn new(dice: &mut Dice) -> Plane {
        Plane {
            owner: None,
            clock: Clock::new(dice),
            life: 0,
            paused_until: 0,
            shards: 0,
            rules: Revision::ZERO,
        }
    }
}

impl World {
    pub fn start_plane(&mut self, plane: usize) {
        self.begin_owner(plane, (Label::ZERO, Time::ZERO));
    }

    fn begin_owner(&mut self, plane: usize, floor: (Label, Time)) {
        self.planes[plane].life += 1;
        let life = self.planes[plane].life;
        let reading = self.planes[plane].clock.read(self.now);
        let incarnation = self.dice.uuid();
        self.planes[plane].owner = Some(Owner::new(incarnation, self.settings, reading, floor));
        self.note(|| format!("c{plane} begins as {incarnation}"));
        let (rules, members) = (self.limits.rules.clone(), self.members());
        self.planes[plane].rules = rules.revision;
        self.owner(plane, Input::Rules(rules));
        self.owner(plane, Input::Members(members));
        let shards = self.planes[plane].shards;
        self.owner(plane, Input::Shards(shards));
        self.tick_plane(plane, life);
    }

    pub fn kill_plane(&mut self, plane: usize) {
        self.note(|| format!("c{plane} is killed"));
        self.planes[plane].owner = None;
        self.planes[plane].life += 1;
        self.planes[plane].paused_until = 0;
    }

    pub fn members(&self) -> BTreeSet<Uuid> {
        self.roster.keys().copied().collect()
    }

    /// Splits all shards over the control planes that run.
    pub fn share_out(&mut self) {
        let alive: Vec<usize> = (0..self.planes.len())
            .filter(|plane| self.planes[*plane].owner.is_some())
            .collect();
        for plane in 0..self.planes.len() {
            let mine = |shard: &u8| alive.get(usize::from(*shard) % alive.len().max(1)) == Some(&plane);
            let shards = self.limits.shards();
            self.planes[plane].shards = (0..SHARDS)
                .filter(mine)
                .filter(|shard| shards >> shard & 1 == 1)
                .fold(0, |all, shard| all | 1 << shard);
            self.owner(plane, Input::Shards(self.planes[plane].shards));
        }
    }

    fn tick_plane(&mut self, plane: usize, life: u64) {
        if self.planes[plane].life != life {
            return;
        }
        self.owner(plane, Input::Tick);
        let next = (self.now + TICK).max(self.planes[plane].paused_until);
        self.at(next, move |world| world.tick_plane(plane, life));
    }

    pub fn owner(&mut self, plane: usize, input: Input) {
        let reading = self.planes[plane].clock.read(self.now);
        let Some(owner) = &mut self.planes[plane].owner else {
            return;
        };
        for output in owner.handle(input, reading) {
            self.owner_output(plane, output);
        }
    }

    fn owner_output(&mut self, plane: usize, output: Output) {
        match output {
            Output::Send(down) => self.send_down(plane, down),
            Output::Get(key) => self.get(plane, key),
            Output::Swap { key, expected, new } => {
                self.count.add(if matches!(key, CellKey::Claim(_)) {
                    "claims"
                } else {
                    "chunks"
                });
                self.swap(plane, key, expected, new);
            }
            Output::ReadRoster(shard) => {
                self.count.add("censuses");
                let (life, later) = (self.planes[plane].life, self.dice.between(MILLI, 8 * MILLI));
                self.after(later, move |world| {
                    let members = world.members();
                    let left = world.left.clone();
                    let roster = Roster { members, left };
                    world.hand_plane(plane, life, Input::Roster { shard, roster });
                });
            }
            Output::Handover(handover) => self.send_handover(plane, handover),
            Output::Resign { floor } => {
                self.count.add("owners that resigned");
                self.note(|| format!("c{plane} resigns"));
                self.planes[plane].owner = None;
                self.planes[plane].life += 1;
                let (life, later) = (self.planes[plane].life, self.dice.between(20 * MILLI, 100 * MILLI));
                self.after(later, move |world| {
                    if world.planes[plane].life == life {
                        world.begin_owner(plane, floor);
                    }
                });
            }
        }
    }

    /// Once it runs, in this life.
    fn hand_plane(&mut self, plane: usize, life: u64, input: Input) {
        let paused_until = self.planes[plane].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.hand_plane(plane, life, input));
        } else if self.planes[plane].life == life {
            self.owner(plane, input);
        }
    }

    pub fn deliver_cell(&mut self, plane: usize, life: u64, key: CellKey, outcome: Outcome) {
        self.hand_plane(plane, life, Input::Cell { key, outcome });
    }

    pub fn deliver_up(&mut self, plane: usize, up: Up) {
        let paused_until = self.planes[plane].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.deliver_up(plane, up));
        } else {
            self.owner(plane, Input::Message(up));
        }
    }

    fn send_down(&mut self, plane: usize, down: Down) {
        let Some(proxy) = self.proxies.iter().position(|proxy| proxy.instance == down.to.instance) else {
            return;
        };
        self.tally_down(&down);
        let cut = self.network.down_cut.contains(&(proxy, plane));
        self.carry(cut, move |world| world.deliver_down(proxy, down.clone()));
    }

    fn send_handover(&mut self, plane: usize, handover: Handover) {
        self.count.add("hand-overs");
        for other in (0..self.planes.len()).filter(|other| *other != plane) {
            let handover = handover.clone();
            self.carry(false, move |world| {
                let (life, handover) = (world.planes[other].life, handover.clone());
                world.hand_plane(other, life, Input::Handover(handover));
            });
        }
    }

    /// Tells the others, when they ask, what the label time is here.
    pub fn tell_others(&mut self, plane: usize) {
        for other in (0..self.planes.len()).filter(|other| *other != plane) {
            let asked = self.planes[other].clock.mono(self.now);
            let there = self.dice.between(MILLI, 3 * MILLI);
            self.after(there, move |world| {
                if world.planes[plane].paused_until > world.now {
                    return;
                }
                // Label time is as of the last input.
                world.owner(plane, Input::Tick);
                let Some(owner) = &world.planes[plane].owner else {
                    return;
                };
                let (owner, label) = (owner.incarnation(), owner.label());
                let (life, back) = (world.planes[other].life, world.dice.between(MILLI, 3 * MILLI));
                world.after(back, move |world| {
                    world.hand_plane(other, life, Input::Other { owner, label, asked })
                });
            });
        }
        self.after(200 * MILLI, move |world| world.tell_others(plane));
    }

    pub fn announce_members(&mut self) {
        for plane in 0..self.planes.len() {
            let life = self.planes[plane].life;
            let later = self.dice.between(MILLI, 60 * MILLI);
            self.after(later, move |world| {
                let members = world.members();
                world.hand_plane(plane, life, Input::Members(members));
            });
        }
    }
}

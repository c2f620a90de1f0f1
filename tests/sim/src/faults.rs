//! What goes wrong. Each run draws some kinds and how often they come, so that runs differ in kind and not only in chance.

mod ambush;
mod histories;
mod sharing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shared::stream::subscriber::OnLeaseEnd;

use crate::clock::Clock;
use crate::dice::{Dice, MILLI, SECOND};
use crate::medium::Condition;
use crate::plane::Line;
use crate::proxy::Proxy;
use crate::world::{Actor, World};

use ambush::Ambushes;

const NAMES_MAX: usize = 5;
/// Where the store is not shared.
const ONLY: usize = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Cut,
    Stall,
    PauseProxy,
    PausePlane,
    KillProxy,
    StopProxy,
    KillPlane,
    Disk,
    Join,
    Replace,
    Return,
    Impostor,
    Store,
    BackUp,
    GoBack,
    WrongVolume,
    MoveProxy,
    SeverProxy,
    CutPeer,
    SeverPlanes,
    CutStore,
    SlowStore,
    SlowTail,
    FullStore,
    Isolate,
    ReturnInTheDark,
    LeaveUnheeded,
}

/// On any store.
const EVERYWHERE: [Fault; 13] = [
    Fault::Cut,
    Fault::Stall,
    Fault::PauseProxy,
    Fault::PausePlane,
    Fault::KillProxy,
    Fault::StopProxy,
    Fault::KillPlane,
    Fault::Disk,
    Fault::Join,
    Fault::Replace,
    Fault::Return,
    Fault::Impostor,
    Fault::Store,
];

/// Of a store that lives and dies with its only control plane.
const ALONE: [Fault; 3] = [Fault::BackUp, Fault::GoBack, Fault::WrongVolume];

/// Of one that several share.
const SHARED: [Fault; 11] = [
    Fault::MoveProxy,
    Fault::SeverProxy,
    Fault::CutPeer,
    Fault::SeverPlanes,
    Fault::CutStore,
    Fault::SlowStore,
    Fault::SlowTail,
    Fault::FullStore,
    Fault::Isolate,
    Fault::ReturnInTheDark,
    Fault::LeaveUnheeded,
];

pub struct Faults {
    enabled: Vec<Fault>,
    between: u64,
    pub over: bool,
    pub forget_after: Option<Duration>,
    /// Another control plane writes to the log now and then.
    pub foreign: bool,
    /// And this one looks for it, or finds it by conflict only.
    pub follows: bool,
    pub store_trouble_until: u64,
    /// Nothing gets from one to the other until then.
    pub severed: BTreeMap<(Actor, Actor), u64>,
    ambushes: Ambushes,
    lease: u64,
    on_lease_end: OnLeaseEnd,
    went_back: bool,
}

impl Faults {
    pub fn new(dice: &mut Dice, shared: bool) -> Faults {
        let share = dice.between(15, 90);
        let own: &[Fault] = if shared { &SHARED } else { &ALONE };
        let mut enabled: Vec<Fault> = EVERYWHERE.iter().chain(own).copied().collect();
        enabled.retain(|_| dice.percent(share));
        if shared && dice.percent(25) {
            // What takes several things in a row shows where nothing else goes wrong meanwhile.
            enabled = vec![dice.one(&[Fault::ReturnInTheDark, Fault::LeaveUnheeded, Fault::MoveProxy])];
        }
        Faults {
            enabled,
            between: dice.between(300, 4_000) * MILLI,
            over: false,
            forget_after: dice.one(&[None, Some(15), Some(40)]).map(Duration::from_secs),
            foreign: dice.percent(40) && !shared,
            follows: dice.percent(50),
            store_trouble_until: 0,
            severed: BTreeMap::new(),
            ambushes: Ambushes::default(),
            lease: dice.one(&[3, 4, 10]),
            on_lease_end: dice.one(&[
                OnLeaseEnd::Serve,
                OnLeaseEnd::Serve,
                OnLeaseEnd::Unready,
                OnLeaseEnd::Stop,
            ]),
            went_back: false,
        }
    }

    /// Whether one kind of trouble has the run to itself.
    pub fn is_alone(&self) -> bool {
        self.enabled.len() == 1
    }

    /// After how long one that left comes back, if it does.
    pub fn back_after_leaving(&self, dice: &mut Dice) -> Option<u64> {
        (!self.over && dice.percent(75)).then(|| dice.between(50 * MILLI, 12 * SECOND))
    }
}

impl World {
    pub fn add_proxy(&mut self, name: Arc<str>) -> usize {
        let clock = Clock::new(&mut self.dice);
        self.proxies.push(Proxy {
            name,
            instance: uuid::Uuid::nil(),
            medium: Arc::default(),
            clock,
            lease: Duration::from_secs(self.faults.lease),
            first_address: self.dice.index(self.planes.len()),
            on_lease_end: self.faults.on_lease_end,
            life: 0,
            paused_until: 0,
            woke: 0,
            leased_since: None,
            up_stalled_until: 0,
            down_stalled_until: 0,
            run: None,
            said: None,
        });
        self.proxies.len() - 1
    }

    fn running(&self, name: &str) -> Option<usize> {
        self.proxies
            .iter()
            .position(|node| &*node.name == name && node.run.is_some())
    }

    /// Unless its name is in use meanwhile.
    pub fn start_alone(&mut self, i: usize) {
        let name = self.proxies[i].name.clone();
        if self.running(&name).is_none() {
            self.start_proxy(i);
        }
    }

    /// So that there is something to go back to.
    pub fn first_backup(&mut self) {
        if self.faults.enabled.contains(&Fault::GoBack) {
            self.volumes[0].back_up();
        }
    }

    pub fn next_fault(&mut self) {
        let pause = self.dice.below(2 * self.faults.between);
        self.after(Actor::World, pause, |world| {
            if world.faults.over || world.faults.enabled.is_empty() {
                return;
            }
            let fault = world.faults.enabled[world.dice.index(world.faults.enabled.len())];
            world.happen(fault);
            world.next_fault();
        });
    }

    /// Of the running ones.
    fn some_proxy(&mut self) -> Option<usize> {
        let running: Vec<usize> = (0..self.proxies.len())
            .filter(|i| self.proxies[*i].run.is_some())
            .collect();
        (!running.is_empty()).then(|| running[self.dice.index(running.len())])
    }

    fn happen(&mut self, fault: Fault) {
        let Some(i) = self.some_proxy() else { return };
        let n = self.dice.index(self.planes.len());
        match fault {
            Fault::Cut => {
                if let Some(id) = self.proxies[i].connection() {
                    self.cut(id);
                }
            }
            Fault::Stall => {
                let time = self.dice.between(100 * MILLI, 16 * SECOND);
                let ways = self.dice.below(3);
                self.count.add("stalled networks");
                self.note(|| format!("net: of proxy {i} is stalled ({ways})"));
                self.stall(i, ways != 1, ways != 0, Duration::from_nanos(time));
            }
            Fault::PauseProxy => {
                let time = self.dice.between(200 * MILLI, 18 * SECOND);
                self.count.add("proxies paused");
                self.note(|| format!("proxy {i}: stopped for {} ms", time / MILLI));
                let node = &mut self.proxies[i];
                node.paused_until = node.paused_until.max(self.now + time);
                node.woke = node.paused_until;
            }
            Fault::PausePlane => self.stop_plane(n),
            Fault::KillProxy => {
                self.kill_proxy(i);
                let back = self.dice.one(&[100 * MILLI, SECOND, 9 * SECOND, 20 * SECOND]);
                let back = self.dice.between(10 * MILLI, back);
                self.after(Actor::World, back, move |world| world.start_alone(i));
            }
            Fault::StopProxy => self.stop_proxy(i),
            Fault::KillPlane => self.restart_plane(n),
            Fault::Disk => {
                let condition = self.dice.one(&[Condition::Full, Condition::Full, Condition::ReadOnly]);
                self.count.add(match condition {
                    Condition::ReadOnly => "disks turned read-only",
                    _ => "disks full",
                });
                let time = self.dice.between(100 * MILLI, 30 * SECOND);
                self.spoil_disk(i, condition, time);
            }
            Fault::Join => self.join_another(),
            Fault::Replace => self.replace(i),
            Fault::Return => self.bring_back(i),
            Fault::Impostor => {
                self.count.add("impostors");
                let name = self.proxies[i].name.clone();
                let impostor = self.add_proxy(name);
                self.start_proxy(impostor);
                let time = self.dice.between(SECOND, 15 * SECOND);
                self.after(Actor::World, time, move |world| {
                    // By then it may be the one that is left.
                    if !world.faults.over {
                        world.kill_proxy(impostor);
                    }
                });
            }
            Fault::Store => {
                self.count.add("stores in trouble");
                self.faults.store_trouble_until = self.now + self.dice.between(200 * MILLI, 8 * SECOND);
            }
            Fault::BackUp => self.volume_mut().back_up(),
            Fault::GoBack => self.go_back(),
            Fault::WrongVolume => self.mount_another(),
            Fault::MoveProxy => self.move_proxy(i),
            Fault::SeverProxy => self.sever_proxy(i, n),
            Fault::CutPeer => self.cut_some_peer(),
            Fault::SeverPlanes => self.sever_planes(n),
            Fault::CutStore | Fault::SlowStore | Fault::SlowTail | Fault::FullStore => self.spoil_line(fault, n),
            Fault::Isolate => self.isolate(n),
            Fault::ReturnInTheDark => self.return_in_the_dark(i, n),
            Fault::LeaveUnheeded => self.leave_unheeded(i),
        }
    }

    fn stop_plane(&mut self, n: usize) {
        if self.planes[n].run.is_none() {
            return;
        }
        let time = self.dice.between(300 * MILLI, 20 * SECOND);
        self.count.add("control planes paused");
        self.note(|| format!("plane {n}: stopped for {} ms", time / MILLI));
        self.pause_plane(n, Duration::from_nanos(time));
    }

    fn restart_plane(&mut self, n: usize) {
        self.count.add("control planes killed");
        self.kill_plane(n);
        let back = self.dice.one(&[100 * MILLI, 2 * SECOND, 12 * SECOND]);
        let back = self.dice.between(10 * MILLI, back);
        self.after(Actor::World, back, move |world| world.start_plane_again(n));
    }

    pub fn start_plane_again(&mut self, n: usize) {
        let reaches = self.now >= self.planes[n].line.cut_until;
        if self.planes[n].run.is_none() && reaches {
            self.start_plane(n);
        } else if !reaches {
            // It waits for its store.
            self.after(Actor::World, SECOND / 2, move |world| world.start_plane_again(n));
        }
    }

    fn join_another(&mut self) {
        let names: std::collections::BTreeSet<_> = self.proxies.iter().map(|node| node.name.clone()).collect();
        if names.len() < NAMES_MAX {
            let i = self.add_proxy(format!("p{}", names.len()).into());
            self.start_proxy(i);
        }
    }

    /// Its machine is lost; another takes its name.
    fn replace(&mut self, i: usize) {
        self.count.add("machines replaced");
        self.kill_proxy(i);
        let name = self.proxies[i].name.clone();
        let new = self.add_proxy(name);
        let after = self.dice.between(50 * MILLI, 6 * SECOND);
        self.after(Actor::World, after, move |world| world.start_alone(new));
    }

    /// An earlier machine of that name comes back with its disk.
    fn bring_back(&mut self, i: usize) {
        let name = self.proxies[i].name.clone();
        let earlier = (0..self.proxies.len()).find(|old| {
            let node = &self.proxies[*old];
            node.name == name && node.run.is_none() && !node.instance.is_nil()
        });
        if let Some(earlier) = earlier {
            self.count.add("earlier machines brought back");
            self.kill_proxy(i);
            self.after(Actor::World, 20 * MILLI, move |world| world.start_alone(earlier));
        }
    }

    /// Everything is mended: from here on the world has to come to rest by itself.
    pub fn mend(&mut self) {
        self.note(|| "world: no more faults");
        self.faults.over = true;
        self.faults.store_trouble_until = 0;
        self.faults.severed.clear();
        for plane in &mut self.planes {
            plane.line = Line::default();
        }
        self.mount_own();
        (0..self.planes.len()).for_each(|n| self.start_plane_again(n));
        for node in &mut self.proxies {
            node.medium.set(Condition::Good);
            node.up_stalled_until = 0;
            node.down_stalled_until = 0;
        }
        self.one_of_each_name();
    }

    fn one_of_each_name(&mut self) {
        let names: std::collections::BTreeSet<_> = self.proxies.iter().map(|node| node.name.clone()).collect();
        for name in names {
            let nodes: Vec<usize> = (0..self.proxies.len())
                .filter(|i| self.proxies[*i].name == name)
                .collect();
            let kept = nodes
                .iter()
                .copied()
                .max_by_key(|i| (self.proxies[*i].run.as_ref().is_some_and(|run| !run.stopping), *i));
            for i in nodes.iter().copied().filter(|i| Some(*i) != kept) {
                self.kill_proxy(i);
            }
            let leaving = kept.is_some_and(|i| self.proxies[i].run.as_ref().is_some_and(|run| run.stopping));
            if let (Some(i), false) = (kept, leaving) {
                self.start_alone(i);
            }
        }
    }
}

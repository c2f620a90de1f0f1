//! What goes wrong. Each run draws some kinds and how often they come, so that runs differ in kind and not only in chance.

use std::sync::Arc;
use std::time::Duration;

use shared::change::Epoch;
use shared::stream::subscriber::OnLeaseEnd;

use crate::clients::What;
use crate::clock::Clock;
use crate::dice::{Dice, MILLI, SECOND};
use crate::medium::Condition;
use crate::proxy::Proxy;
use crate::volume::Volume;
use crate::world::{Actor, World};

const NAMES_MAX: usize = 5;

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
}

const ALL: [Fault; 16] = [
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
    Fault::BackUp,
    Fault::GoBack,
    Fault::WrongVolume,
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
    /// How long the plane was stopped in all.
    pub plane_paused: u64,
    lease: u64,
    on_lease_end: OnLeaseEnd,
    went_back: bool,
}

impl Faults {
    pub fn new(dice: &mut Dice) -> Faults {
        let share = dice.between(15, 90);
        Faults {
            enabled: ALL.into_iter().filter(|_| dice.percent(share)).collect(),
            between: dice.between(300, 4_000) * MILLI,
            over: false,
            forget_after: dice.one(&[None, Some(15), Some(40)]).map(Duration::from_secs),
            foreign: dice.percent(40),
            follows: dice.percent(50),
            store_trouble_until: 0,
            plane_paused: 0,
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
            Fault::PausePlane => self.stop_plane(),
            Fault::KillProxy => {
                self.kill_proxy(i);
                let back = self.dice.one(&[100 * MILLI, SECOND, 9 * SECOND, 20 * SECOND]);
                let back = self.dice.between(10 * MILLI, back);
                self.after(Actor::World, back, move |world| world.start_alone(i));
            }
            Fault::StopProxy => self.stop_proxy(i),
            Fault::KillPlane => self.restart_plane(),
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
                self.after(Actor::World, time, move |world| world.kill_proxy(impostor));
            }
            Fault::Store => {
                self.count.add("stores in trouble");
                self.faults.store_trouble_until = self.now + self.dice.between(200 * MILLI, 8 * SECOND);
            }
            Fault::BackUp => self.volume_mut().back_up(),
            Fault::GoBack => self.go_back(),
            Fault::WrongVolume => self.mount_another(),
        }
    }

    fn stop_plane(&mut self) {
        if self.plane.run.is_none() {
            return;
        }
        let time = self.dice.between(300 * MILLI, 20 * SECOND);
        self.count.add("control planes paused");
        self.note(|| format!("plane: stopped for {} ms", time / MILLI));
        self.faults.plane_paused += time;
        self.pause_plane(Duration::from_nanos(time));
    }

    fn restart_plane(&mut self) {
        self.count.add("control planes killed");
        self.kill_plane();
        let back = self.dice.one(&[100 * MILLI, 2 * SECOND, 12 * SECOND]);
        let back = self.dice.between(10 * MILLI, back);
        self.after(Actor::World, back, World::start_plane_again);
    }

    pub fn start_plane_again(&mut self) {
        if self.plane.run.is_none() {
            self.start_plane();
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

    /// Once in a run: later losses could not be told from earlier ones.
    fn go_back(&mut self) {
        if self.faults.went_back || self.plane.volume != 0 || self.plane.run.is_none() {
            return;
        }
        self.kill_plane();
        if self.volumes[0].go_back(&mut self.dice) {
            self.count.add("stores that went back");
            self.faults.went_back = true;
            let head = self.volume().head();
            self.note(|| format!("store: goes back to {head}"));
            let consent = self.dice.between(2 * SECOND, 15 * SECOND);
            self.after(Actor::World, consent, World::let_succeed);
        }
        self.after(Actor::World, 50 * MILLI, World::start_plane_again);
    }

    /// An operator lets the store go on under a new epoch, and take over whoever followed what it has lost.
    pub fn let_succeed(&mut self) {
        let Some(lost) = self.volumes[0].went_back else { return };
        let now = self.volumes[0].now();
        let own = now.epoch;
        let known = now.succeeds();
        let strange = self.volumes[0].epochs.iter().copied();
        let strange: Vec<Epoch> = strange
            .filter(|epoch| *epoch != own && !known.contains(epoch))
            .collect();
        if own != lost && strange.is_empty() {
            return self.count.add("stores let succeed themselves");
        }
        if self.plane.volume == 0 && self.plane.run.is_some() {
            let wanted = (own == lost).then_some(own);
            wanted
                .into_iter()
                .chain(strange)
                .for_each(|epoch| self.ask(What::Succeed(Some(epoch)), None));
        }
        self.after(Actor::World, SECOND, World::let_succeed);
    }

    /// The control plane comes up on an empty store, and later on its own again.
    fn mount_another(&mut self) {
        if self.plane.volume != 0 || self.plane.run.is_none() {
            return;
        }
        self.count.add("wrong stores mounted");
        self.kill_plane();
        let epoch = Epoch(self.dice.uuid());
        self.volumes.push(Volume::new(epoch));
        self.plane.volume = self.volumes.len() - 1;
        self.note(|| "plane: comes up on another store");
        self.after(Actor::World, 50 * MILLI, |world| {
            world.start_plane_again();
            world.first_writes();
        });
        let time = self.dice.between(2 * SECOND, 15 * SECOND);
        self.after(Actor::World, time, move |world| {
            world.mount_own();
            world.after(Actor::World, 50 * MILLI, World::start_plane_again);
            if world.dice.percent(60) {
                let consent = world.dice.between(SECOND, 5 * SECOND);
                world.after(Actor::World, consent, move |world| world.take_over_from(epoch));
            }
        });
    }

    /// An operator lets the own store take over whoever followed the wrong one.
    fn take_over_from(&mut self, other: Epoch) {
        if self.plane.volume == 0 && self.plane.run.is_some() {
            self.count.add("stores let succeed another");
            self.ask(What::Succeed(Some(other)), None);
        }
    }

    pub fn mount_own(&mut self) {
        if self.plane.volume != 0 {
            self.kill_plane();
            self.plane.volume = 0;
            self.note(|| "plane: comes up on its own store again");
        }
    }

    /// Everything is mended: from here on the world has to come to rest by itself.
    pub fn mend(&mut self) {
        self.note(|| "world: no more faults");
        self.faults.over = true;
        self.faults.store_trouble_until = 0;
        self.mount_own();
        self.start_plane_again();
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

    /// Whoever followed another store from its first day has to be set up anew.
    pub fn set_up_strays(&mut self) {
        let strange: Vec<Epoch> = self.volumes[1..]
            .iter()
            .flat_map(|volume| volume.epochs.clone())
            .collect();
        for i in 0..self.proxies.len() {
            let run = self.proxies[i].run.as_ref();
            if run.is_some_and(|run| strange.contains(&run.subscriber.state().epoch)) {
                self.kill_proxy(i);
                let new = self.add_proxy(self.proxies[i].name.clone());
                self.start_alone(new);
            }
        }
    }
}

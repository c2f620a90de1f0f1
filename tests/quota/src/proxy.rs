//! A proxy around its end of the protocol: the shell of the binary, without a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::quota::proxy::{Input, Output};
use shared::quota::{CellKey, CellValue, Departure, Down, Label, ProxyId, Rules, Slots, Up};
use uuid::Uuid;

use crate::clock::Clock;
use crate::dice::{Dice, MILLI, SECOND};
use crate::focus::Focus;
use crate::requests::Waiting;
use crate::world::World;

pub struct Proxy {
    pub instance: Uuid,
    pub boot: u64,
    pub machine: Option<shared::quota::Proxy>,
    pub slots: Arc<Slots>,
    pub clock: Clock,
    pub life: u64,
    pub paused_until: u64,
    /// The table that it goes by.
    pub rules: Rules,
    pub waiting: BTreeMap<u64, Waiting>,
    /// On its disk: what the next life finds, and until when it is written.
    pub is_marked: bool,
    pub disk_until: u64,
    /// When it found something to spend last while it had nobody to ask.
    pub alone_at: Option<u64>,
}

const TICK: u64 = 15 * MILLI;
/// Few, so that accounts drive each other out.
const SLOTS: usize = 8;

impl Proxy {
    pub fn new(dice: &mut Dice) -> Proxy {
        Proxy {
            instance: dice.uuid(),
            boot: 0,
            machine: None,
            slots: Arc::new(Slots::new(SLOTS)),
            clock: Clock::new(dice),
            life: 0,
            paused_until: 0,
            rules: Rules::default(),
            waiting: BTreeMap::new(),
            is_marked: true,
            disk_until: 0,
            alone_at: None,
        }
    }
}

impl World {
    /// Starts it, and puts it on the roster before anyone welcomes it.
    pub fn join(&mut self, proxy: usize) {
        let (now, settings, rules) = (self.now, self.settings, self.limits.rules.clone());
        let of = &mut self.proxies[proxy];
        of.life += 1;
        of.boot += 1;
        let id = ProxyId {
            instance: of.instance,
            boot: of.boot,
        };
        of.slots = Arc::new(Slots::new(SLOTS));
        let mono = of.clock.mono(now);
        of.machine = Some(shared::quota::Proxy::new(
            id,
            settings,
            of.slots.clone(),
            of.is_marked,
            mono,
        ));
        of.rules = rules.clone();
        let life = of.life;
        if id.boot > 1 {
            self.count.add(match self.proxies[proxy].is_marked {
                true => "lives that found a mark",
                false => "lives that found none",
            });
        }
        self.note(|| format!("p{proxy} starts, boot {}", id.boot));
        self.hand_proxy(proxy, Input::Rules(rules));
        if self.roster.insert(id.instance, proxy).is_none() {
            self.announce_members();
        }
        self.welcome(proxy, life);
        self.tick_proxy(proxy, life);
    }

    /// The epochs as they are in the store, after the join.
    pub fn welcome(&mut self, proxy: usize, life: u64) {
        let read = self.dice.between(MILLI, 10 * MILLI);
        self.after(read, move |world| {
            let claims = world.store.cells.iter().filter_map(|(key, value)| match (key, value) {
                (CellKey::Claim(shard), CellValue::Claim(claim)) => Some((*shard, claim.epoch)),
                _ => None,
            });
            let epochs: Vec<_> = claims.collect();
            let later = world.dice.between(MILLI, 5 * MILLI);
            world.after(later, move |world| {
                if world.proxies[proxy].life == life {
                    world.hand_proxy(proxy, Input::Welcome(epochs));
                    world.flights.welcome(proxy);
                }
            });
        });
    }

    pub fn kill_proxy(&mut self, proxy: usize) {
        self.note(|| format!("p{proxy} is killed"));
        let of = &mut self.proxies[proxy];
        of.machine = None;
        of.life += 1;
        of.paused_until = 0;
        of.waiting.clear();
        of.disk_until = 0;
        self.flights.killed(proxy);
    }

    /// It said goodbye, or an operator removed it.
    pub fn leave(&mut self, proxy: usize, goodbye: bool) {
        let instance = self.proxies[proxy].instance;
        if goodbye {
            self.hand_proxy(proxy, Input::Leave);
            self.kill_proxy(proxy);
        }
        if self.roster.remove(&instance).is_none() {
            return;
        }
        self.note(|| format!("p{proxy} left the roster"));
        self.flights.removed(proxy);
        let at = Label::from_nanos(crate::clock::label(self.now));
        self.left.push(Departure { instance, at, goodbye });
        if goodbye {
            for plane in 0..self.planes.len() {
                self.owner(plane, shared::quota::owner::Input::Goodbye(instance));
            }
        }
        self.announce_members();
    }

    fn tick_proxy(&mut self, proxy: usize, life: u64) {
        if self.proxies[proxy].life != life {
            return;
        }
        self.hand_proxy(proxy, Input::Tick);
        let next = (self.now + TICK).max(self.proxies[proxy].paused_until);
        self.at(next, move |world| world.tick_proxy(proxy, life));
    }

    pub fn hand_proxy(&mut self, proxy: usize, input: Input) {
        let mono = self.proxies[proxy].clock.mono(self.now);
        let Some(machine) = &mut self.proxies[proxy].machine else {
            return;
        };
        let outputs = machine.handle(input, mono);
        self.proxy_outputs(proxy, outputs);
    }

    pub fn proxy_outputs(&mut self, proxy: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(up) => self.send_up(proxy, up),
                Output::Mark(is_set) => self.mark(proxy, is_set),
                Output::Observed { .. } => {}
                Output::Wake(_) => {
                    let life = self.proxies[proxy].life;
                    self.after(0, move |world| {
                        if world.proxies[proxy].life == life {
                            world.wake(proxy);
                        }
                    });
                }
            }
        }
    }

    /// One write after the other. Each is done some time before the proxy hears of that, and either may fall behind its end; what
    /// its machine still has in hand then is lost.
    fn mark(&mut self, proxy: usize, is_set: bool) {
        let longest = if self.dice.percent(20) { SECOND } else { 30 * MILLI };
        let (takes, told) = (self.dice.between(MILLI, longest), self.dice.between(MILLI, longest));
        let of = &mut self.proxies[proxy];
        let (life, done) = (of.life, of.disk_until.max(self.now) + takes);
        of.disk_until = done + told;
        // Chance hardly ends a life at such a moment.
        if self.focus != Focus::Peace && self.dice.percent(15) {
            let moment = self.dice.between(0, takes + told + 100 * MILLI);
            self.after(moment, move |world| {
                if world.proxies[proxy].life == life && !world.mended {
                    world.restart_proxy(proxy, 100 * MILLI);
                }
            });
        }
        self.at(done, move |world| {
            if world.proxies[proxy].life != life {
                world.count.add("marks lost");
                return;
            }
            world.note(|| format!("p{proxy} is marked: {is_set}"));
            world.count.add(if is_set { "marks set" } else { "marks removed" });
            world.proxies[proxy].is_marked = is_set;
            world.after(told, move |world| world.tell_marked(proxy, life, is_set));
        });
    }

    fn tell_marked(&mut self, proxy: usize, life: u64, is_set: bool) {
        let paused_until = self.proxies[proxy].paused_until;
        if self.proxies[proxy].life != life {
            self.count.add("marks done and not told of");
        } else if paused_until > self.now {
            self.at(paused_until, move |world| world.tell_marked(proxy, life, is_set));
        } else {
            self.hand_proxy(proxy, Input::Marked(is_set));
        }
    }

    fn send_up(&mut self, proxy: usize, up: Up) {
        let plane = self
            .planes
            .iter()
            .position(|plane| plane.owner.as_ref().is_some_and(|owner| owner.incarnation() == up.to));
        let Some(plane) = plane else { return };
        self.tally_up(&up);
        let cut = self.network.up_cut.contains(&(proxy, plane));
        self.carry(cut, move |world| world.deliver_up(plane, up.clone()));
    }

    pub fn deliver_down(&mut self, proxy: usize, down: Down) {
        let paused_until = self.proxies[proxy].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.deliver_down(proxy, down));
        } else {
            self.hand_proxy(proxy, Input::Message(down));
        }
    }
}

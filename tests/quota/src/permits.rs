//! Requests that hold a permit while they are in flight, and how many there are in truth.

use std::collections::{BTreeMap, BTreeSet};

use shared::change::Revision;
use shared::quota::permits::proxy::Blocked;
use shared::quota::{AccountId, Concurrent, OnUnreachable, Rules};
use uuid::Uuid;

use crate::dice::{Dice, MILLI, SECOND};
use crate::requests::short;
use crate::world::World;

/// As long as a request may wait for a permit.
const WAIT: u64 = 60 * MILLI;

/// In flight, in truth, and how many may be.
#[derive(Default)]
pub struct Flights {
    /// Of the proxies that the fleet counts with.
    now: BTreeMap<AccountId, BTreeMap<usize, u64>>,
    /// Numbers of requests that do not count: they began at a proxy that was off the roster, or it is since.
    uncounted: BTreeSet<u64>,
    counted: BTreeMap<u64, usize>,
    strangers: BTreeSet<usize>,
    /// All that someone may go by.
    active: BTreeMap<Uuid, Vec<u32>>,
    waiting: BTreeMap<u64, (usize, AccountId)>,
    next: u64,
    peaks: BTreeMap<AccountId, u64>,
}

impl Flights {
    pub fn replaced(&mut self, rules: &Rules) {
        for (limit, rule) in &rules.concurrent {
            let active = self.active.entry(*limit).or_default();
            if active.last() != Some(&rule.most) {
                active.push(rule.most);
            }
        }
    }

    /// Everyone goes by the last ones.
    pub fn settled(&mut self) {
        for active in self.active.values_mut() {
            let last = active.len().saturating_sub(1);
            active.drain(..last);
        }
    }

    /// It ended, and all that was in flight there.
    pub fn killed(&mut self, proxy: usize) {
        self.land_all(proxy);
        self.waiting.retain(|_, (of, _)| *of != proxy);
        self.counted.retain(|_, of| *of != proxy);
        self.strangers.remove(&proxy);
    }

    /// Whoever removed it says that nothing of it goes on.
    pub fn removed(&mut self, proxy: usize) {
        self.strangers.insert(proxy);
        self.land_all(proxy);
        let gone = self.counted.iter().filter(|(_, of)| **of == proxy).map(|(id, _)| *id);
        self.uncounted.extend(gone);
        self.counted.retain(|_, of| *of != proxy);
    }

    fn land_all(&mut self, proxy: usize) {
        for of in self.now.values_mut() {
            of.remove(&proxy);
        }
    }

    pub fn welcome(&mut self, proxy: usize) {
        self.strangers.remove(&proxy);
    }

    pub fn begin_service(&mut self) {
        self.peaks.clear();
    }

    fn in_flight(&self, account: &AccountId) -> u64 {
        self.now.get(account).map_or(0, |of| of.values().sum())
    }

    /// What is wrong about this one, if anything.
    fn begin(&mut self, id: u64, proxy: usize, account: AccountId) -> Option<String> {
        if self.strangers.contains(&proxy) {
            self.uncounted.insert(id);
            return None;
        }
        self.counted.insert(id, proxy);
        *self.now.entry(account).or_default().entry(proxy).or_default() += 1;
        let in_flight = self.in_flight(&account);
        let peak = self.peaks.entry(account).or_default();
        *peak = (*peak).max(in_flight);
        let active = self.active.get(&account.limit)?;
        let most = active.iter().max()?;
        (in_flight > u64::from(*most))
            .then(|| format!("{in_flight} in flight, {active:?} permitted, of {}", short(&account)))
    }

    fn end(&mut self, id: u64, proxy: usize, account: AccountId) {
        if self.counted.remove(&id).is_none() {
            self.uncounted.remove(&id);
            return;
        }
        if let Some(of) = self.now.get_mut(&account).and_then(|of| of.get_mut(&proxy)) {
            *of -= 1;
        }
    }
}

pub fn any_concurrent(revision: Revision, dice: &mut Dice) -> Concurrent {
    Concurrent {
        most: dice.one(&[1, 2, 3, 5, 12]),
        revision,
        on_unreachable: OnUnreachable::Closed,
    }
}

impl World {
    /// A request that is in flight for a while, if it may.
    pub fn fly(&mut self, proxy: usize, token: [u8; 8]) {
        let limits = self.limits.ids.len();
        let limit = self.limits.ids[self.dice.index(limits)];
        self.flights.next += 1;
        let id = self.flights.next;
        self.try_to_fly(proxy, id, AccountId::of(limit, &token), self.now + WAIT);
    }

    fn try_to_fly(&mut self, proxy: usize, id: u64, account: AccountId, until: u64) {
        if !self.proxies[proxy].rules.concurrent.contains_key(&account.limit) {
            return;
        }
        for _ in 0..4 {
            let mono = self.proxies[proxy].clock.mono(self.now);
            let Some(machine) = &mut self.proxies[proxy].machine else {
                return;
            };
            if machine.gates().enter(account.key) {
                return self.in_flight(proxy, id, account);
            }
            let blocked = machine.block_permit(account, mono);
            let outputs = machine.take_outputs(mono);
            self.proxy_outputs(proxy, outputs);
            match blocked {
                Blocked::Again => {}
                Blocked::Wait => {
                    self.flights.waiting.insert(id, (proxy, account));
                    let life = self.proxies[proxy].life;
                    self.at(until, move |world| {
                        if world.proxies[proxy].life == life && world.flights.waiting.remove(&id).is_some() {
                            world.waited(proxy, account, false);
                        }
                    });
                    return;
                }
                Blocked::Refused { is_all } => {
                    self.count
                        .add(if is_all { "permits refused" } else { "permits unknown" });
                    return;
                }
                Blocked::Uncounted | Blocked::Stale => return,
            }
        }
    }

    pub fn wake_flights(&mut self, proxy: usize) {
        let of = self.flights.waiting.iter().filter(|(_, (of, _))| *of == proxy);
        let of: Vec<(u64, AccountId)> = of.map(|(id, (_, account))| (*id, *account)).collect();
        for (id, account) in of {
            self.flights.waiting.remove(&id);
            self.waited(proxy, account, true);
            self.try_to_fly(proxy, id, account, self.now + WAIT);
        }
    }

    fn waited(&mut self, proxy: usize, account: AccountId, is_admitted: bool) {
        if let Some(machine) = &mut self.proxies[proxy].machine {
            machine.waited_for_permit(account, is_admitted);
        }
    }

    fn in_flight(&mut self, proxy: usize, id: u64, account: AccountId) {
        self.count.add("permits taken");
        self.note(|| format!("p{proxy} lets {id} fly under {}", short(&account)));
        if self.network.last_cut.contains_key(&proxy) {
            self.count.add("permits taken while cut off");
        }
        if let Some(violated) = self.flights.begin(id, proxy, account) {
            self.violate(violated);
        }
        let long = self.dice.percent(5);
        let length = match long {
            true => self.dice.between(SECOND, 4 * SECOND),
            false => self.dice.between(5 * MILLI, 400 * MILLI),
        };
        let life = self.proxies[proxy].life;
        self.after(length, move |world| world.land(proxy, life, id, account));
    }

    fn land(&mut self, proxy: usize, life: u64, id: u64, account: AccountId) {
        if self.proxies[proxy].life != life {
            return;
        }
        let paused_until = self.proxies[proxy].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.land(proxy, life, id, account));
            return;
        }
        self.flights.end(id, proxy, account);
        self.note(|| format!("p{proxy} ends {id}"));
        let mono = self.proxies[proxy].clock.mono(self.now);
        let Some(machine) = &mut self.proxies[proxy].machine else {
            return;
        };
        if machine.gates().leave(account.key) {
            machine.permit_left(account.key, mono);
        }
        let outputs = machine.take_outputs(mono);
        self.proxy_outputs(proxy, outputs);
    }

    pub fn edit_concurrent(&mut self, id: Uuid) {
        let revision = self.limits.rules.revision;
        let fresh = any_concurrent(revision, &mut self.dice);
        let is_deleted = self.dice.percent(20);
        if self.limits.rules.concurrent.remove(&id).is_none() || !is_deleted {
            self.limits.rules.concurrent.insert(id, fresh);
        } else {
            self.count.add("limits deleted");
        }
        self.note(|| format!("{id}: {fresh:?}, deleted: {is_deleted}"));
    }

    /// Once nothing fails, and more is asked for than may be, as much is in flight as may be.
    pub fn check_all_in_use(&mut self) {
        for account in self.limits.accounts().collect::<Vec<_>>() {
            let Some(rule) = self.limits.rules.concurrent.get(&account.limit).copied() else {
                continue;
            };
            let peak = self.flights.peaks.get(&account).copied().unwrap_or(0);
            if peak < u64::from(rule.most.min(3)) {
                self.violate(format!("{} of {} were in use again at most", peak, rule.most));
            }
        }
    }
}

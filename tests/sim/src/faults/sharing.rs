//! What goes wrong between the control planes of a shared store, their proxies and that store.

use shared::stream::publisher;

use super::Fault;
use crate::dice::{MILLI, SECOND};
use crate::world::{Actor, World};

impl World {
    /// It has to find another control plane, whatever is under way.
    pub(super) fn move_proxy(&mut self, i: usize) {
        let Some(id) = self.proxies[i].connection() else { return };
        self.count.add("proxies sent away");
        match self.dice.percent(50) {
            true => self.cut(id),
            false => {
                let Some(n) = self.connections.get(&id).map(|connection| connection.plane) else {
                    return;
                };
                self.after(Actor::Plane(n), 0, move |world| {
                    world.publish(id, publisher::Input::Shutdown)
                });
            }
        }
    }

    /// Each way, or only one.
    fn sever(&mut self, one: Actor, other: Actor, until: u64) {
        let ways = self.dice.below(3);
        self.note(|| {
            format!(
                "net: {one:?} and {other:?} are severed until {} s ({ways})",
                until / SECOND
            )
        });
        if ways != 1 {
            self.faults.severed.insert((one, other), until);
        }
        if ways != 0 {
            self.faults.severed.insert((other, one), until);
        }
    }

    fn until_later(&mut self) -> u64 {
        let longest = self.dice.one(&[2 * SECOND, 10 * SECOND, 35 * SECOND]);
        self.now + self.dice.between(200 * MILLI, longest)
    }

    pub(super) fn sever_proxy(&mut self, i: usize, n: usize) {
        self.count.add("proxies severed from a control plane");
        let until = self.until_later();
        self.sever(Actor::Proxy(i), Actor::Plane(n), until);
    }

    /// From one other, or from all.
    pub(super) fn sever_planes(&mut self, n: usize) {
        let mut others: Vec<usize> = (0..self.planes.len()).filter(|other| *other != n).collect();
        if others.is_empty() {
            return;
        }
        self.count.add("control planes severed from each other");
        if self.dice.percent(50) {
            others = vec![self.dice.one(&others)];
        }
        let until = self.until_later();
        for other in others {
            self.sever(Actor::Plane(n), Actor::Plane(other), until);
        }
    }

    /// It reads, and nobody hears of it: neither its peers nor, by its row, whoever asks the store.
    pub(super) fn isolate(&mut self, n: usize) {
        self.count.add("control planes isolated");
        let until = self.now + self.dice.between(5 * SECOND, 40 * SECOND);
        self.note(|| format!("plane {n}: isolated until {} s", until / SECOND));
        self.planes[n].line.full_until = until;
        self.part_from_others(n, until);
    }

    pub(super) fn cut_some_peer(&mut self) {
        if let Some(link) = self.some_peer() {
            self.cut_peer(link);
        }
    }

    pub(super) fn spoil_line(&mut self, fault: Fault, n: usize) {
        let until = self.until_later();
        self.note(|| format!("plane {n}: {fault:?} until {} s", until / SECOND));
        let line = &mut self.planes[n].line;
        match fault {
            Fault::CutStore => {
                line.cut_until = until;
                self.count.add("control planes cut off from the store");
            }
            Fault::SlowStore => {
                line.slow_until = until;
                self.count.add("slow stores");
            }
            Fault::FullStore => {
                line.full_until = until;
                self.count.add("stores that take nothing");
            }
            _ => {
                line.lags_until = until;
                self.count.add("slow tails");
            }
        }
    }
}

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

    fn sever(&mut self, one: Actor, other: Actor) {
        let until = self.now + self.dice.between(500 * MILLI, 25 * SECOND);
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

    pub(super) fn sever_proxy(&mut self, i: usize, n: usize) {
        self.count.add("proxies severed from a control plane");
        self.sever(Actor::Proxy(i), Actor::Plane(n));
    }

    /// From one other, or from all.
    pub(super) fn sever_planes(&mut self, n: usize) {
        let others: Vec<usize> = (0..self.planes.len()).filter(|other| *other != n).collect();
        if others.is_empty() {
            return;
        }
        self.count.add("control planes severed from each other");
        match self.dice.percent(50) {
            true => {
                let other = self.dice.one(&others);
                self.sever(Actor::Plane(n), Actor::Plane(other));
            }
            false => others
                .into_iter()
                .for_each(|other| self.sever(Actor::Plane(n), Actor::Plane(other))),
        }
    }

    pub(super) fn cut_some_peer(&mut self) {
        if let Some(link) = self.some_peer() {
            self.cut_peer(link);
        }
    }

    pub(super) fn spoil_line(&mut self, fault: Fault, n: usize) {
        let longest = self.dice.one(&[2 * SECOND, 10 * SECOND, 35 * SECOND]);
        let until = self.now + self.dice.between(200 * MILLI, longest);
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
            _ => {
                line.lags_until = until;
                self.count.add("slow tails");
            }
        }
    }
}

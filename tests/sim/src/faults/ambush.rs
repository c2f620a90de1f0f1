//! What takes several things at once to go wrong: where chance alone would need far too many runs.

use crate::clients::What;
use crate::dice::{MILLI, SECOND};
use crate::network::ConnId;
use crate::world::{Actor, World};

/// What is to go wrong at a moment that only comes later.
#[derive(Default)]
pub struct Ambushes {
    /// This plane goes dark as soon as this proxy dials it.
    dark: Option<(usize, usize)>,
    /// The store is away for whichever plane hears this proxy's goodbye.
    unheeded: Option<usize>,
}

impl World {
    /// A proxy is away until nobody counts on it, and comes back to a control plane that nobody hears at that moment.
    pub(super) fn return_in_the_dark(&mut self, i: usize, n: usize) {
        if self.planes.len() < 2 {
            return;
        }
        let margin = self.dice.between(2 * SECOND, 5 * SECOND);
        let back = self.now + self.proxies[i].lease.as_nanos() as u64 + margin;
        for plane in 0..self.planes.len() {
            // Long enough for it to try all of them.
            let until = if plane == n { back } else { back + 8 * SECOND };
            self.faults
                .severed
                .insert((Actor::Proxy(i), Actor::Plane(plane)), until);
            self.faults
                .severed
                .insert((Actor::Plane(plane), Actor::Proxy(i)), until);
        }
        self.note(|| format!("net: proxy {i} is away, and will be back at plane {n}"));
        self.at(Actor::World, back, move |world| {
            world.faults.ambushes.dark = Some((i, n))
        });
    }

    pub fn dials(&mut self, i: usize, n: usize) {
        if self.faults.ambushes.dark.take_if(|dark| *dark == (i, n)).is_none() || self.faults.over {
            return;
        }
        self.count.add("returns in the dark");
        let until = self.now + self.dice.between(SECOND, 6 * SECOND);
        self.planes[n].line.lags_until = until;
        self.part_from_others(n, until);
        let others: Vec<usize> = (0..self.planes.len()).filter(|other| *other != n).collect();
        for _ in 0..4 {
            let (other, soon) = (self.dice.one(&others), self.dice.below(2_500 * MILLI));
            self.after(Actor::World, soon, move |world| {
                let what = world.some_what();
                world.ask_of(other, what, None);
            });
        }
    }

    /// Neither hears anything of the other.
    pub(super) fn part_from_others(&mut self, n: usize, until: u64) {
        for other in (0..self.planes.len()).filter(|other| *other != n) {
            let (own, other) = (Actor::Plane(n), Actor::Plane(other));
            self.faults.severed.insert((own, other), until);
            self.faults.severed.insert((other, own), until);
        }
    }

    /// A proxy leaves and is back, elsewhere, long before its leaving stands in the log.
    pub(super) fn leave_unheeded(&mut self, i: usize) {
        self.faults.ambushes.unheeded = Some(i);
        self.stop_proxy(i);
    }

    pub fn says_goodbye(&mut self, id: ConnId) {
        let Some((i, n)) = self
            .connections
            .get(&id)
            .map(|connection| (connection.proxy, connection.plane))
        else {
            return;
        };
        if self.faults.ambushes.unheeded.take_if(|leaving| *leaving == i).is_none() || self.faults.over {
            return;
        }
        self.count.add("goodbyes unheeded for long");
        let until = self.now + self.dice.between(4 * SECOND, 9 * SECOND);
        self.planes[n].line.cut_until = until;
        self.cut(id);
        let back = self.dice.between(100 * MILLI, SECOND);
        self.after(Actor::World, back, move |world| world.start_alone(i));
        let others: Vec<usize> = (0..self.planes.len()).collect();
        for _ in 0..6 {
            let other = self.dice.one(&others);
            let then = until + self.dice.below(2 * SECOND);
            self.at(Actor::World, then, move |world| {
                let name = world.dice.one(&crate::clients::SERVICES);
                let body = world.service_body(name);
                world.ask_of(other, What::PutService(name, body), None);
            });
        }
    }
}

//! Those who hold a service and resume it, or die before they do; and what planes and proxies do about the end of a hold.

use std::time::Duration;

use controlplane::registry::hold;
use controlplane::registry::plan::Goal;

use crate::clients::{SERVICES, What};
use crate::dice::{MILLI, SECOND};
use crate::plane::Purpose;
use crate::world::{Actor, World};

impl World {
    pub fn some_hold(&mut self) {
        let (service, max) = (self.dice.one(&SERVICES), self.dice.one(&[1, 2, 4, 8, 15]));
        let goal = self.dice.percent(8).then_some(Goal::None);
        self.ask(What::Hold(service, max), goal);
        let (soon, late) = (self.dice.between(100 * MILLI, 6 * SECOND), self.dice.below(700 * MILLI));
        match self.dice.below(100) {
            0..55 => self.after(Actor::World, soon, move |world| world.ask(What::Resume(service), None)),
            // Again, just when it is over.
            55..75 => self.after(Actor::World, max * SECOND + late, move |world| {
                world.ask(What::Hold(service, max), None);
            }),
            // Again, while it lasts.
            75..85 => self.after(Actor::World, soon, move |world| {
                world.ask(What::Hold(service, 8), None);
            }),
            _ => {}
        }
    }

    /// Whenever the head of a plane may have moved, and with every tick.
    pub fn end_holds_of_plane(&mut self, n: usize) {
        let now = self.plane_time(n);
        let Some(run) = self.planes[n].run.as_mut() else { return };
        run.holds.look(&run.committer.head().state, now);
        for (service, revision) in run.holds.due(now) {
            let decide = hold::expire(&service, revision);
            self.submit(n, controlplane::holds::ACTOR.into(), decide, Purpose::Expire);
        }
    }

    /// What a proxy does by itself, at the very moment or, paused, later.
    pub fn end_holds_of_proxy(&mut self, i: usize) {
        let instant = self.origin + Duration::from_nanos(self.now);
        let Some(run) = &mut self.proxies[i].run else { return };
        let before = run.views.held().len();
        let due = run.views.end_overdue(instant);
        let after = run.views.held().len();
        if after < before {
            self.count.add("holds that a proxy ended");
            self.note(|| format!("proxy {i}: lets go of what was held for long enough"));
            self.look_at_drains(i);
        }
        if let Some(due) = due {
            let delay = due.saturating_duration_since(instant).as_nanos() as u64;
            self.after(Actor::Proxy(i), delay, move |world| world.end_holds_of_proxy(i));
        }
    }

    /// A request that met a hold looks again after a while.
    pub fn wait_for_resumption(&mut self, i: usize, number: u64) {
        let Some(run) = &mut self.proxies[i].run else { return };
        let Some(request) = run.requests.get_mut(&number) else {
            return;
        };
        if !request.wait() {
            self.count.add("requests that waited for the end of a hold");
        }
        let soon = self.dice.between(MILLI, 40 * MILLI);
        self.after(Actor::Proxy(i), soon, move |world| world.look(i, number));
    }
}

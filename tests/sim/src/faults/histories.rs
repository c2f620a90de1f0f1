//! Stores that lose their latest history, and control planes that come up on another store.

use shared::change::Epoch;

use super::ONLY;
use crate::clients::What;
use crate::dice::{MILLI, SECOND};
use crate::volume::Volume;
use crate::world::{Actor, World};

impl World {
    /// Once in a run: later losses could not be told from earlier ones.
    pub(super) fn go_back(&mut self) {
        if self.faults.went_back || self.mounted != 0 || self.planes[ONLY].run.is_none() {
            return;
        }
        self.kill_plane(ONLY);
        if self.volumes[0].go_back(&mut self.dice) {
            self.count.add("stores that went back");
            self.faults.went_back = true;
            let head = self.volume().head();
            self.note(|| format!("store: goes back to {head}"));
            let consent = self.dice.between(2 * SECOND, 15 * SECOND);
            self.after(Actor::World, consent, World::let_succeed);
        }
        self.after(Actor::World, 50 * MILLI, |world| world.start_plane_again(ONLY));
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
        if self.mounted == 0 && self.planes[ONLY].run.is_some() {
            let wanted = (own == lost).then_some(own);
            wanted
                .into_iter()
                .chain(strange)
                .for_each(|epoch| self.ask(What::Succeed(Some(epoch)), None));
        }
        self.after(Actor::World, SECOND, World::let_succeed);
    }

    /// The control plane comes up on an empty store, and later on its own again.
    pub(super) fn mount_another(&mut self) {
        if self.mounted != 0 || self.planes[ONLY].run.is_none() {
            return;
        }
        self.count.add("wrong stores mounted");
        self.kill_plane(ONLY);
        let epoch = Epoch(self.dice.uuid());
        self.volumes.push(Volume::new(epoch));
        self.mounted = self.volumes.len() - 1;
        self.note(|| "plane: comes up on another store");
        self.after(Actor::World, 50 * MILLI, |world| {
            world.start_plane_again(ONLY);
            world.first_writes();
        });
        let time = self.dice.between(2 * SECOND, 15 * SECOND);
        self.after(Actor::World, time, move |world| {
            world.mount_own();
            world.after(Actor::World, 50 * MILLI, |world| world.start_plane_again(ONLY));
            if world.dice.percent(60) {
                let consent = world.dice.between(SECOND, 5 * SECOND);
                world.after(Actor::World, consent, move |world| world.take_over_from(epoch));
            }
        });
    }

    /// An operator lets the own store take over whoever followed the wrong one.
    fn take_over_from(&mut self, other: Epoch) {
        if self.mounted == 0 && self.planes[ONLY].run.is_some() {
            self.count.add("stores let succeed another");
            self.ask(What::Succeed(Some(other)), None);
        }
    }

    pub fn mount_own(&mut self) {
        if self.mounted != 0 {
            self.kill_plane(ONLY);
            self.mounted = 0;
            self.note(|| "plane: comes up on its own store again");
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

//! Ways between proxies and control planes: slow, lossy, one-way, cut.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::{Dice, MILLI, SECOND};
use crate::focus::Focus;
use crate::world::World;

pub struct Network {
    /// Percent.
    drop: u64,
    double: u64,
    late: u64,
    late_max: u64,
    fast: (u64, u64),
    /// Proxy and control plane that do not hear each other: up, down.
    pub up_cut: BTreeSet<(usize, usize)>,
    pub down_cut: BTreeSet<(usize, usize)>,
    /// When a proxy was cut off from everyone.
    pub last_cut: BTreeMap<usize, u64>,
}

impl Network {
    pub fn new(focus: Focus, dice: &mut Dice) -> Network {
        let (drop, double, late, late_max) = match focus {
            Focus::Peace => (0, 0, 0, 1),
            Focus::Crossing => (0, 0, 30, 150 * MILLI),
            // Late, but not always too late to do harm.
            Focus::Delays => (3, 8, 20, dice.one(&[100, 200, 900]) * MILLI),
            _ => (dice.one(&[0, 1, 3]), dice.one(&[0, 2]), dice.one(&[0, 2]), SECOND / 2),
        };
        let slow = if focus == Focus::Delays {
            dice.one(&[3, 10, 20])
        } else {
            3
        };
        Network {
            drop,
            double,
            late,
            late_max,
            fast: (MILLI, slow * MILLI),
            up_cut: BTreeSet::new(),
            down_cut: BTreeSet::new(),
            last_cut: BTreeMap::new(),
        }
    }
}

impl World {
    /// Delivers nought, one or two copies, each in its time.
    pub fn carry(&mut self, cut: bool, deliver: impl Fn(&mut World) + Clone + 'static) {
        if cut {
            self.count.add("messages into a cut");
            return;
        }
        if !self.mended && self.dice.percent(self.network.drop) {
            self.count.add("messages lost");
            return;
        }
        let copies = if !self.mended && self.dice.percent(self.network.double) {
            2
        } else {
            1
        };
        for copy in 0..copies {
            let late = !self.mended && (copy == 1 || self.dice.percent(self.network.late));
            let (least, most) = self.network.fast;
            let delay = match late {
                true => self.dice.between(least, self.network.late_max),
                false => self.dice.between(least, most),
            };
            if late {
                self.count
                    .add(if copy == 1 { "messages doubled" } else { "messages late" });
            }
            let deliver = deliver.clone();
            self.after(delay, move |world| deliver(world));
        }
    }
}

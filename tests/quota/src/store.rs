//! The store: cells that are compared and set, and answers that get lost.

use std::collections::BTreeMap;

use shared::quota::{CellKey, CellValue, Outcome};

use crate::dice::MILLI;
use crate::focus::Focus;
use crate::world::World;

pub struct Store {
    pub cells: BTreeMap<CellKey, CellValue>,
    /// How often, in percent, an outcome stays unknown.
    doubt: u64,
    pub down_until: u64,
}

impl Store {
    pub fn new(focus: Focus) -> Store {
        Store {
            cells: BTreeMap::new(),
            doubt: match focus {
                Focus::Peace => 0,
                Focus::Ledger => 25,
                _ => 4,
            },
            down_until: 0,
        }
    }

    fn swap(&mut self, key: &CellKey, expected: &Option<CellValue>, new: CellValue) -> Outcome {
        if self.cells.get(key) != expected.as_ref() {
            return Outcome::Differs(self.cells.get(key).cloned());
        }
        self.cells.insert(key.clone(), new);
        Outcome::Swapped
    }
}

impl World {
    pub fn get(&mut self, plane: usize, key: CellKey) {
        let there = self.dice.between(MILLI / 2, 3 * MILLI);
        self.after(there, move |world| {
            let doubt = !world.mended && world.dice.percent(world.store.doubt / 3);
            let outcome = match world.now < world.store.down_until || doubt {
                true => Outcome::Unavailable,
                false => Outcome::Is(world.store.cells.get(&key).cloned()),
            };
            world.answer(plane, key, outcome);
        });
    }

    pub fn swap(&mut self, plane: usize, key: CellKey, expected: Option<CellValue>, new: CellValue) {
        let there = self.dice.between(MILLI / 2, 3 * MILLI);
        if let CellValue::Claim(claim) = &new {
            let (from, to) = (
                claim.from.as_nanos() % 1_000_000_000_000,
                claim.to.as_nanos() % 1_000_000_000_000,
            );
            self.note(|| format!("c{plane} claims {key:?}, epoch {}, {from} to {to}", claim.epoch));
        }
        self.after(there, move |world| {
            if world.now < world.store.down_until {
                world.answer(plane, key, Outcome::Unavailable);
                return;
            }
            if world.mended || !world.dice.percent(world.store.doubt) {
                let outcome = world.store.swap(&key, &expected, new);
                world.answer(plane, key, outcome);
                return;
            }
            match world.dice.below(3) {
                0 => world.count.add("swaps lost"),
                1 => {
                    world.count.add("swaps done of unknown outcome");
                    world.store.swap(&key, &expected, new);
                }
                _ => {
                    world.count.add("swaps that came about later");
                    let (later, key) = (world.dice.between(MILLI, 300 * MILLI), key.clone());
                    world.after(later, move |world| drop(world.store.swap(&key, &expected, new)));
                }
            }
            world.answer(plane, key, Outcome::Unknown);
        });
    }

    fn answer(&mut self, plane: usize, key: CellKey, outcome: Outcome) {
        let life = self.planes[plane].life;
        let back = self.dice.between(MILLI / 2, 3 * MILLI);
        self.after(back, move |world| world.deliver_cell(plane, life, key, outcome));
    }
}

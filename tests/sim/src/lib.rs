//! A whole fleet in one thread, under virtual time and a seed: the publishers, the subscribers, the log, the views and
//! the hand-over are those that the binary links; clocks, disks, networks and processes are simulated, and fail.
//!
//! A run is chaos for a while, then rest. What must hold at every moment is checked at every moment (`oracle`); that
//! everything comes to rest, and every write gets its answer, at the end.
//!
//! A simulation that cannot go on panics, and `run` tells of which seed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod clock;
mod coverage;
mod dice;
mod faults;
mod guard;
mod holds;
mod medium;
mod network;
mod oracle;
mod plane;
mod proxy;
mod requests;
mod volume;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::Coverage;

use dice::SECOND;
use world::{Actor, World};

const CHAOS: u64 = 45 * SECOND;
/// For disks to be tried again, leases to end, and drains to be cut.
const REST: u64 = 62 * SECOND;
const PROXIES: usize = 3;

/// What a run found.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub violated: String,
    /// What happened, oldest first.
    pub trace: Vec<String>,
}

/// One run. The same seed gives the same.
pub fn run(seed: u64) -> Result<Coverage, Box<Failure>> {
    match attempt(seed, false).0 {
        Ok(coverage) => Ok(coverage),
        Err(violated) => Err(Box::new(Failure {
            seed,
            violated,
            trace: attempt(seed, true).1,
        })),
    }
}

fn attempt(seed: u64, traced: bool) -> (Result<Coverage, String>, Vec<String>) {
    let mut world = World::new(seed, traced);
    let ended = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let violated = match ended {
        Ok(()) => world.violation.take(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("a panic: {}", text.unwrap_or_default()))
        }
    };
    let trace = world.take_trace();
    match violated {
        None => (Ok(world.count.clone()), trace),
        Some(violated) => (Err(violated), trace),
    }
}

fn live(world: &mut World) {
    (0..world.planes.len()).for_each(|n| world.start_plane(n));
    for i in 0..PROXIES {
        world.add_proxy(format!("p{i}").into());
        let soon = world.dice.below(SECOND / 2);
        world.after(Actor::World, soon, move |world| world.start_alone(i));
    }
    world.after(Actor::World, SECOND / 10, World::first_writes);
    world.after(Actor::World, SECOND, World::next_write);
    world.after(Actor::World, SECOND / 2, World::next_guarding);
    world.after(Actor::World, SECOND, World::next_fault);
    let backup = world.dice.between(3 * SECOND, 12 * SECOND);
    world.at(Actor::World, backup, World::first_backup);
    world.at(Actor::World, CHAOS, World::mend);
    world.at(Actor::World, CHAOS + 10 * SECOND, World::set_up_strays);
    world.at(Actor::World, CHAOS + 30 * SECOND, World::set_up_strays);
    world.at(Actor::World, CHAOS + 15 * SECOND, |world| world.clients.quiet = true);
    world.at(Actor::World, CHAOS + REST - 20 * SECOND, World::last_writes);
    world.run(CHAOS + REST);
    if world.violation.is_none() {
        world.check_converged();
        world.check_answered();
    }
}

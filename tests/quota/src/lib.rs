//! The fleet's rate limits in one thread, under virtual time and a seed: owners, proxies and slots are those that the
//! binary links; clocks, networks, the store and processes are simulated, and fail.
//!
//! A run is chaos for a while, and in some runs rest then. What was admitted is checked at every admission (`oracle`); that tokens flow
//! again, at the end. Runs differ in what they look for (`focus`): chance alone would hardly bring some of it about.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod coverage;
mod dice;
mod edits;
mod faults;
mod focus;
mod network;
mod oracle;
mod permits;
mod plane;
mod proxy;
mod requests;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::Coverage;
pub use focus::{FOCI, Focus};

use dice::SECOND;
use world::World;

const CHAOS: u64 = 14 * SECOND;
/// One run in so many goes on to the rest.
const RESTING: u64 = 4;
/// For claims to end, standbys to be forgotten and windows to pass.
const REST: u64 = 22 * SECOND;
/// In the last part of the rest everyone must be served.
const SERVED: u64 = 10 * SECOND;

/// What a run found.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub focus: Focus,
    pub violated: String,
    /// What happened, oldest first.
    pub trace: Vec<String>,
}

/// One run. The same seed gives the same.
pub fn run(seed: u64) -> Result<Coverage, Box<Failure>> {
    run_with(seed, Focus::of(seed))
}

/// One with this focus, also if seeds do not come to it by themselves.
pub fn run_with(seed: u64, focus: Focus) -> Result<Coverage, Box<Failure>> {
    match attempt(seed, focus, false).0 {
        Ok(coverage) => Ok(coverage),
        Err(violated) => Err(Box::new(Failure {
            seed,
            focus,
            violated,
            trace: attempt(seed, focus, true).1,
        })),
    }
}

fn attempt(seed: u64, focus: Focus, traced: bool) -> (Result<Coverage, String>, Vec<String>) {
    let mut world = World::new(seed, focus, traced);
    let ended = catch_unwind(AssertUnwindSafe(|| live(&mut world, seed.is_multiple_of(RESTING))));
    let violated = match ended {
        Ok(()) => world.violation.take(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("a panic: {}", text.unwrap_or_default()))
        }
    };
    let trace = world.trace.take().unwrap_or_default();
    match violated {
        None => (Ok(world.count.clone()), trace),
        Some(violated) => (Err(violated), trace),
    }
}

fn live(world: &mut World, rests: bool) {
    world.begin();
    world.begin_faults();
    world.run(CHAOS);
    if !rests {
        return;
    }
    world.mend();
    world.at(CHAOS + REST - SERVED, |world| {
        world.oracle.begin_service();
        world.flights.begin_service();
    });
    world.run(CHAOS + REST);
    if world.violation.is_none() {
        world.check_served();
        world.check_all_in_use();
    }
}

/// What limits cost when nothing fails.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of what the limit permits, or of what was asked for if that is less.
    pub admitted: f64,
    /// Of the admitted, the part that waited.
    pub waited: f64,
    /// Messages with something of an account in them, per admitted request.
    pub messages: f64,
}

/// What is admitted from two seconds after an owner's end on, which followed a proxy's, for a quarter of a period: of what the
/// limit permits, or of what was asked for if that is less.
pub fn after_two_ends(seed: u64, threshold: u64, period: std::time::Duration, load: f64, goodbye: bool) -> f64 {
    let mut world = World::new(seed, Focus::Peace, false);
    world.set_up_measure(3, threshold, period, load, false);
    world.begin();
    let length = period.as_nanos() as u64;
    world.run(2 * SECOND + 2 * length);
    match goodbye {
        true => world.leave_and_return(0),
        false => world.restart_proxy(0, 100 * dice::MILLI),
    }
    world.run(world.now + 3 * SECOND);
    world.restart_plane(0);
    world.run(world.now + 2 * SECOND);
    world.oracle.tally = oracle::Tally::default();
    world.run(world.now + length / 4);
    assert_eq!(world.violation, None, "seed {seed}");
    let tally = world.oracle.tally;
    tally.admitted as f64 / tally.asked.min(threshold / 4) as f64
}

/// What is admitted soon after a proxy, one of two, and then an owner were killed and started again, within one period that hardly
/// anybody had asked in. `alone`: the proxy was cut off before, for longer than a period, and used of its standby.
pub fn all_after_two_ends(seed: u64, threshold: u64, period: std::time::Duration, alone: bool) -> u64 {
    let mut world = World::new(seed, Focus::Peace, false);
    let length = period.as_nanos() as u64;
    world.set_up_measure(2, threshold, period, 20.0 / threshold as f64, false);
    world.begin();
    world.run(10 * SECOND);
    if alone {
        world.cut_off_for(0, 2 * length);
        world.run(world.now + 2 * length - SECOND);
        assert!(world.count.of("standbys spent") > 0, "seed {seed}");
    }
    world.restart_proxy(0, 100 * dice::MILLI);
    world.run(world.now + 4 * SECOND);
    world.restart_plane(0);
    world.run(world.now + 2 * SECOND);
    world.oracle.tally = oracle::Tally::default();
    world.load.uniform(20.0 * threshold as f64 / period.as_secs_f64());
    world.run(world.now + length / 2);
    assert_eq!(world.violation, None, "seed {seed}");
    world.oracle.tally.admitted
}

/// Periods that are looked at.
const MEASURED: u64 = 12;

/// A peaceful fleet with one limit, asked for `load` times what it permits.
pub fn measure(seed: u64, proxies: usize, threshold: u64, period: std::time::Duration, load: f64, fixed: bool) -> Cost {
    let mut world = World::new(seed, Focus::Peace, false);
    world.set_up_measure(proxies, threshold, period, load, fixed);
    cost(world, threshold, period)
}

/// Likewise of three proxies, one at a time: of each for so long.
pub fn measure_moving(seed: u64, threshold: u64, period: std::time::Duration, stay: std::time::Duration) -> Cost {
    let (proxies, load) = (3, 1.5);
    let mut world = World::new(seed, Focus::Peace, false);
    world.set_up_measure(proxies, threshold, period, load, false);
    world.load.moving(proxies, stay.as_nanos() as u64);
    cost(world, threshold, period)
}

fn cost(mut world: World, threshold: u64, period: std::time::Duration) -> Cost {
    world.begin();
    let length = period.as_nanos() as u64;
    let warm = 2 * SECOND + 2 * length;
    world.run(warm);
    world.oracle.tally = oracle::Tally::default();
    let end = warm + (MEASURED + 1) * length;
    world.run(end);
    assert_eq!(world.violation, None);
    let tally = world.oracle.tally;
    let asked = tally.asked * MEASURED / (MEASURED + 1);
    let permitted = (threshold * MEASURED).min(asked);
    Cost {
        admitted: world.oracle.admitted_between(warm, end, length) / permitted as f64,
        waited: tally.waited as f64 / tally.admitted.max(1) as f64,
        messages: tally.messages as f64 / tally.admitted.max(1) as f64,
    }
}

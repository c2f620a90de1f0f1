//! Runs of the simulation in which all that is limited is what is in flight: `VULCAN_SIM_SEEDS=N` of them from
//! `VULCAN_SIM_FROM=S` on, or the one of `VULCAN_SIM_SEED=S`.

use quota_sim::{Coverage, Focus, run_with};

use crate::simulation::{give_up_with_the_other, number, tell};

const SEEDS: u64 = 60;

/// What has to have happened, or the runs prove nothing about it.
const EXERCISED: [&str; 20] = [
    "censuses",
    "cuts",
    "edits",
    "goodbyes",
    "joins",
    "levels",
    "limits deleted",
    "messages doubled",
    "messages into a cut",
    "messages late",
    "messages lost",
    "owners killed",
    "owners paused",
    "permits refused",
    "permits taken",
    "permits taken while cut off",
    "proxies forgotten",
    "proxies killed",
    "proxies paused",
    "takeovers",
];

#[test]
fn the_rules_hold_for_what_is_in_flight() {
    let one = number("VULCAN_SIM_SEED");
    let seeds = if one.is_some() {
        1
    } else {
        number("VULCAN_SIM_SEEDS").unwrap_or(SEEDS)
    };
    let first = one.or(number("VULCAN_SIM_FROM")).unwrap_or(0);
    let mut coverage = Coverage::default();
    for seed in first..first + seeds {
        give_up_with_the_other();
        match run_with(seed, Focus::Permits) {
            Ok(run) => coverage.merge(&run),
            Err(failure) => tell(&failure),
        }
    }
    println!("{coverage}");
    let missing: Vec<&str> = EXERCISED.into_iter().filter(|what| coverage.of(what) == 0).collect();
    assert!(seeds < SEEDS || missing.is_empty(), "never happened: {missing:?}");
}

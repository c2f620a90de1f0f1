//! What the limits cost when nothing fails: cargo test -p quota-sim --test figures -- --nocapture --ignored

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use quota_sim::{Cost, measure, measure_moving};

fn row(proxies: usize, threshold: u64, seconds: u64, fixed: bool) -> Cost {
    loaded(proxies, threshold, seconds, fixed, 1.5)
}

/// `load`: how many times as much is asked for as is permitted.
fn loaded(proxies: usize, threshold: u64, seconds: u64, fixed: bool, load: f64) -> Cost {
    let cost = measure(7, proxies, threshold, Duration::from_secs(seconds), load, fixed);
    println!(
        "{:>7}, {proxies:>3} proxies, {threshold:>6} per {seconds:>3} s ({:>7.1} each), load {load:>4.1}: admitted {:6.2} %, waited {:6.2} %, \
         messages per admitted {:.4}",
        if fixed { "fixed" } else { "sliding" },
        threshold as f64 / proxies as f64,
        100.0 * cost.admitted,
        100.0 * cost.waited,
        cost.messages,
    );
    cost
}

#[test]
fn a_peaceful_fleet_admits_nearly_what_it_may() {
    assert!(row(3, 100, 10, false).admitted > 0.9);
    assert!(row(3, 100, 10, true).admitted > 0.97);
}

#[test]
fn where_more_is_asked_for_than_there_is_messages_are_few() {
    for fixed in [false, true] {
        let cost = row(3, 3_000, 1, fixed);
        assert!(cost.messages < 0.02 && cost.admitted > 0.96, "{cost:?}");
    }
}

/// What was granted ahead to the proxy that had it goes to the one that has it now.
#[test]
fn a_load_that_moves_takes_along_what_is_free() {
    let stay = Duration::from_millis(3_700);
    let admitted: f64 = (1..=3)
        .map(|seed| measure_moving(seed, 1_000, Duration::from_secs(10), stay).admitted)
        .sum();
    assert!(admitted / 3.0 > 0.94, "{admitted}");
}

/// By how much of the threshold there is for each proxy.
#[test]
#[ignore = "a table for people"]
fn the_table() {
    for fixed in [false, true] {
        for (proxies, threshold) in [(8, 4), (5, 20), (3, 100), (3, 300), (3, 3_000), (2, 20_000)] {
            for seconds in [1, 10, 60] {
                row(proxies, threshold, seconds, fixed);
            }
        }
        row(3, 1_000, 120, fixed);
        loaded(3, 100, 10, fixed, 30.0);
    }
}

/// What a threshold is worth: by how much of it there is for each proxy, and how much is asked for.
#[test]
#[ignore = "a table for people"]
fn what_is_admitted() {
    for fixed in [false, true] {
        for proxies in [1, 3] {
            for threshold in [1, 7, 100, 1_000] {
                for load in [1.5, 30.0] {
                    loaded(proxies, threshold, 10, fixed, load);
                }
            }
        }
        loaded(3, 1_000, 120, fixed, 1.5);
    }
}

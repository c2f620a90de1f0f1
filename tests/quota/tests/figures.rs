//! What the limits cost when nothing fails: cargo test -p quota-sim --test figures -- --nocapture --ignored

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use quota_sim::{Cost, measure};

fn row(proxies: usize, threshold: u64, seconds: u64, fixed: bool) -> Cost {
    let cost = measure(7, proxies, threshold, Duration::from_secs(seconds), 1.5, fixed);
    println!(
        "{} proxies, {threshold:>6} per {seconds:>2} s, {:>7}: admitted {:6.2} %, waited {:6.2} %, messages per admitted {:.4}",
        proxies,
        if fixed { "fixed" } else { "sliding" },
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
#[ignore = "a table for people"]
fn the_table() {
    for fixed in [false, true] {
        for threshold in [1, 7, 100, 1_000, 10_000] {
            row(3, threshold, 10, fixed);
        }
        for (threshold, seconds) in [(100, 1), (1_000, 1), (1_000, 60), (1_000, 120)] {
            row(3, threshold, seconds, fixed);
        }
    }
}

//! Who is served soon after a proxy and then an owner ended within one period.

use std::time::Duration;

use quota_sim::after_two_ends;

const PERIOD: Duration = Duration::from_secs(60);

#[test]
fn grants_flow_soon_after_the_end_of_a_proxy_and_then_of_an_owner() {
    for goodbye in [false, true] {
        for (threshold, load, least) in [(1_000_000_000, 0.000_001, 1.0), (6_000, 0.5, 0.99), (6_000, 1.5, 0.5)] {
            let admitted = after_two_ends(7, threshold, PERIOD, load, goodbye);
            println!("goodbye {goodbye}, {threshold}, load {load}: {admitted:.3}");
            assert!(
                admitted >= least,
                "{admitted:.3} of {threshold} at {load}, goodbye {goodbye}"
            );
        }
    }
}

//! How many requests there were, for a control plane that asks.

use std::cmp::Reverse;

use shared::stream::message::{OTHERS, TRAFFIC_MAX, Traffic};

use super::metrics::NONE;
use crate::counts::{Counts, ServiceCounts};

/// `named` services with the most requests, and all others together; none without requests.
pub(super) fn sums(named: u64, counts: &Counts) -> Vec<Traffic> {
    let services = counts.services.all();
    let mut sums: Vec<Traffic> = services
        .iter()
        .map(|(name, counts)| sum(name.as_str(), counts))
        .chain([sum(NONE, &counts.unrouted)])
        .filter(|sum| sum.requests > 0)
        .collect();
    sums.sort_by_key(|sum| Reverse(sum.requests));
    let named = usize::try_from(named.min(TRAFFIC_MAX)).unwrap_or_default();
    let rest = sums.split_off(named.min(sums.len()));
    let others = rest
        .into_iter()
        .fold(sum(OTHERS, counts.services.others()), |others, more| Traffic {
            service: others.service,
            requests: others.requests + more.requests,
            errors: others.errors + more.errors,
            limited: others.limited + more.limited,
        });
    sums.extend(Some(others).filter(|others| others.requests > 0));
    sums
}

fn sum(service: &str, counts: &ServiceCounts) -> Traffic {
    let none = Traffic {
        service: service.into(),
        ..Traffic::default()
    };
    counts.by_code().fold(none, |mut sum, (code, many)| {
        sum.requests += many;
        match code {
            Some(429) => sum.limited += many,
            Some(500..) => sum.errors += many,
            _ => {}
        }
        sum
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::model::ServiceName;

    use super::*;

    fn traffic(service: &str, requests: u64, errors: u64, limited: u64) -> Traffic {
        Traffic {
            service: service.into(),
            requests,
            errors,
            limited,
        }
    }

    #[test]
    fn nothing_is_left_out_of_the_sum() {
        let counts = Counts::new(2);
        let add = |counts: &ServiceCounts, statuses: &[u16]| {
            statuses
                .iter()
                .for_each(|status| counts.request(*status, Duration::ZERO));
        };
        let of = |name: &str| counts.services.of(&ServiceName::try_from(name).unwrap());
        add(&of("a"), &[200]);
        add(&of("b"), &[200, 429, 429, 500, 599, 404]);
        of("c");
        add(&counts.unrouted, &[404, 404]);
        let all = [traffic("b", 6, 1, 2), traffic(NONE, 2, 0, 0), traffic("a", 1, 0, 0)];
        assert_eq!(sums(9, &counts), all);
        assert_eq!(sums(1, &counts), [traffic("b", 6, 1, 2), traffic(OTHERS, 3, 0, 0)]);
        assert_eq!(sums(0, &counts), [traffic(OTHERS, 9, 1, 2)]);
        assert_eq!(sums(0, &Counts::new(2)), []);
    }
}

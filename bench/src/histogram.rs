//! Latencies in buckets of less than one percent of their value, in constant memory (after Gil Tene's HdrHistogram).

use std::time::Duration;

/// Below this, buckets are one nanosecond wide; each doubling above it is divided into half as many.
const FINE: u64 = 256;
const SHIFT: u32 = FINE.trailing_zeros() - 1;
const BUCKETS: usize = (64 - SHIFT as usize) * (FINE as usize / 2) + FINE as usize;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    highest: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS],
            total: 0,
            highest: 0,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.highest = self.highest.max(nanos);
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.highest = self.highest.max(other.highest);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.highest)
    }

    /// The smallest recorded value that at least `fraction` of all are not above; zero when nothing was recorded.
    pub fn quantile(&self, fraction: f64) -> Duration {
        let wanted = ((self.total as f64 * fraction).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(index).min(self.highest));
            }
        }
        self.max()
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < FINE {
        return nanos as usize;
    }
    let doublings = nanos.ilog2() - SHIFT;
    let within = (nanos >> doublings) - FINE / 2;
    (FINE + u64::from(doublings - 1) * (FINE / 2) + within) as usize
}

/// The highest value that falls into this bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < FINE {
        return index;
    }
    let doublings = (index - FINE) / (FINE / 2) + 1;
    let within = (index - FINE) % (FINE / 2) + FINE / 2;
    (((u128::from(within) + 1) << doublings) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket_and_the_bucket_within_a_percent() {
        for shift in 0..64u32 {
            for offset in [0u64, 1, 77] {
                let value = (1u64 << shift).saturating_add(offset << shift.saturating_sub(8));
                let top = upper(bucket(value));
                assert!(
                    top >= value && top - value <= value / 100,
                    "{value} in a bucket up to {top}"
                );
                assert!(value < 2 || upper(bucket(value) - 1) < value);
            }
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        (1..=100).for_each(|n| histogram.record(Duration::from_nanos(n)));
        assert_eq!(histogram.quantile(0.5), Duration::from_nanos(50));
        assert_eq!(histogram.quantile(0.99), Duration::from_nanos(99));
        assert_eq!(histogram.quantile(1.0), Duration::from_nanos(100));
    }
}

//! How long things took, in buckets whose bounds are spread evenly over the orders of magnitude.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, with the nanoseconds that they are.
const BOUNDS: [(u64, &str); 12] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (10_000_000_000, "10"),
];
/// The last bucket is that of everything longer.
const BUCKETS: usize = BOUNDS.len() + 1;

/// One writer or several; two additions each time.
#[derive(Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What histograms have together, at one time.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    sum: Duration,
}

impl Distribution {
    pub fn add(&mut self, more: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&more.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        self.sum += Duration::from_nanos(more.nanos.load(Ordering::Relaxed));
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn sum(&self) -> Duration {
        self.sum
    }

    /// How many took no longer than each bound.
    pub(super) fn cumulated(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let mut sum = 0;
        bounds.zip(self.buckets).map(move |(bound, count)| {
            sum += count;
            (bound, sum)
        })
    }
}

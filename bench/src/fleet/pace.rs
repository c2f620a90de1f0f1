//! Calls at a given rate, whether or not earlier ones have been answered: the load does not wait for who is slow.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::rest::Client;

/// Calls that may wait for their answers at one time.
const CALLERS: usize = 512;

pub struct Pace {
    /// Calls per second.
    pub rate: usize,
    pub seconds: usize,
}

pub struct Offered {
    /// Of each call, from when it was due.
    pub latencies: Histogram,
    pub failures: Vec<String>,
    pub elapsed: Duration,
    /// What was sampled after each quarter.
    pub samples: Vec<u64>,
}

impl Pace {
    pub fn keep(
        &self,
        admin: SocketAddr,
        call: impl Fn(&mut Client, usize) -> io::Result<()> + Sync,
        sample: impl Fn() -> io::Result<u64>,
    ) -> io::Result<Offered> {
        let (next, began) = (AtomicUsize::new(0), Instant::now());
        let caller = || {
            let mut client = Client::new(admin);
            let (mut latencies, mut failures) = (Histogram::default(), Vec::new());
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= self.rate * self.seconds {
                    return (latencies, failures);
                }
                let due = began + Duration::from_secs(1).mul_f64(turn as f64 / self.rate as f64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                match call(&mut client, turn) {
                    Ok(()) => latencies.record(due.elapsed()),
                    Err(error) => failures.push(error.to_string()),
                }
            }
        };
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
            let mut samples = Vec::new();
            for quarter in 1..=4 {
                let at = began + Duration::from_secs_f64(self.seconds as f64 / 4.0 * f64::from(quarter));
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                samples.push(sample()?);
            }
            let (mut latencies, mut failures) = (Histogram::default(), Vec::new());
            for caller in callers {
                let (mine, failed) = caller.join().map_err(|_| io::Error::other("a caller panicked"))?;
                latencies.merge(&mine);
                failures.extend(failed);
            }
            let elapsed = began.elapsed();
            Ok(Offered {
                latencies,
                failures,
                elapsed,
                samples,
            })
        })
    }
}

//! What became of every request.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::Shape;

/// Enough to see a pattern; the rest is only counted.
const FAILURES_KEPT: usize = 40;

/// When a proxy was down by the test's own hand: excused is what overlaps that at this proxy, and what begins later on a
/// connection from before.
#[derive(Debug, Default)]
pub struct Outages(Mutex<Vec<(usize, Instant, Option<Instant>)>>);

impl Outages {
    /// Call it before the proxy is killed.
    pub fn begin(&self, proxy: usize) {
        self.0.lock().unwrap().push((proxy, Instant::now(), None));
    }

    /// Call it after the proxy is ready again.
    pub fn end(&self, proxy: usize) {
        for outage in self
            .0
            .lock()
            .unwrap()
            .iter_mut()
            .filter(|outage| outage.0 == proxy && outage.2.is_none())
        {
            outage.2 = Some(Instant::now());
        }
    }

    fn excuse(&self, proxy: usize, since: Instant, ended: Instant) -> bool {
        let outages = self.0.lock().unwrap();
        outages
            .iter()
            .any(|(at, from, to)| *at == proxy && ended >= *from && to.is_none_or(|to| since <= to))
    }
}

#[derive(Clone, Debug)]
pub struct Failure {
    pub shape: Shape,
    /// Its index.
    pub proxy: usize,
    /// Since the load began.
    pub begun_ms: u128,
    pub ended_ms: u128,
    pub detail: String,
}

#[derive(Default)]
struct Tally {
    done: BTreeMap<Shape, u64>,
    excused: u64,
    failed: BTreeMap<Shape, u64>,
    failures: Vec<Failure>,
    /// Origins by id, and when their unregistration was answered.
    retired: HashMap<String, Instant>,
    stale: Vec<Failure>,
}

pub struct Ledger {
    service: String,
    began: Instant,
    outages: Arc<Outages>,
    tally: Mutex<Tally>,
}

impl Ledger {
    pub fn new(service: &str, outages: Arc<Outages>) -> Ledger {
        Ledger {
            service: service.to_owned(),
            began: Instant::now(),
            outages,
            tally: Mutex::default(),
        }
    }

    /// The unregistration of this origin has just been answered: a request that begins later must not reach it.
    pub fn retire(&self, origin: &str) {
        self.tally
            .lock()
            .unwrap()
            .retired
            .insert(origin.to_owned(), Instant::now());
    }

    /// The outcome of one request: the origin that answered it, or what went wrong.
    /// `connected`: when its connection was made, before or after it began.
    pub fn record(
        &self,
        shape: Shape,
        proxy: usize,
        begun: Instant,
        connected: Instant,
        outcome: Result<String, String>,
    ) {
        let ended = Instant::now();
        let since = |at: Instant| at.duration_since(self.began).as_millis();
        let failure = |detail: String| Failure {
            shape,
            proxy,
            begun_ms: since(begun),
            ended_ms: since(ended),
            detail,
        };
        let mut tally = self.tally.lock().unwrap();
        match outcome {
            Ok(origin) => {
                *tally.done.entry(shape).or_default() += 1;
                if tally.retired.get(&origin).is_some_and(|retired| *retired < begun) {
                    tally.stale.push(failure(format!("answered by {origin}")));
                }
            }
            Err(_) if self.outages.excuse(proxy, connected.min(begun), ended) => tally.excused += 1,
            Err(detail) => {
                *tally.failed.entry(shape).or_default() += 1;
                if tally.failures.len() < FAILURES_KEPT {
                    tally.failures.push(failure(detail));
                }
            }
        }
    }

    pub fn done(&self) -> u64 {
        self.tally.lock().unwrap().done.values().sum()
    }

    pub fn failed(&self) -> u64 {
        self.tally.lock().unwrap().failed.values().sum()
    }

    pub fn failed_of(&self, shape: Shape) -> u64 {
        self.tally.lock().unwrap().failed.get(&shape).copied().unwrap_or(0)
    }

    pub fn excused(&self) -> u64 {
        self.tally.lock().unwrap().excused
    }

    /// Requests that an unregistered origin answered.
    pub fn stale(&self) -> usize {
        self.tally.lock().unwrap().stale.len()
    }

    /// Shapes of `expected` that were never answered: a load that was not there proves nothing.
    pub fn missing(&self, expected: &[Shape]) -> Vec<Shape> {
        let tally = self.tally.lock().unwrap();
        expected
            .iter()
            .copied()
            .filter(|shape| !tally.done.contains_key(shape))
            .collect()
    }

    pub fn report(&self) -> String {
        let tally = self.tally.lock().unwrap();
        let done: u64 = tally.done.values().sum();
        let failed: u64 = tally.failed.values().sum();
        let (excused, stale) = (tally.excused, tally.stale.len());
        let mut text = format!(
            "{}: {done} answered, {failed} failed, {stale} stale, {excused} excused",
            self.service
        );
        let _ = write!(text, "; {:?}", tally.done);
        for failure in tally.failures.iter().chain(&tally.stale) {
            let Failure {
                shape,
                proxy,
                begun_ms,
                ended_ms,
                detail,
            } = failure;
            let _ = write!(
                text,
                "\n  {shape:?} at proxy {proxy}, {begun_ms}..{ended_ms} ms: {detail}"
            );
        }
        text
    }

    /// Nothing failed, nothing was answered by an unregistered origin, and every shape was there.
    #[track_caller]
    pub fn assert_clean(&self, shapes: &[Shape]) {
        let clean = self.failed() == 0 && self.stale() == 0 && self.missing(shapes).is_empty();
        assert!(clean, "{}\n  never answered: {:?}", self.report(), self.missing(shapes));
    }
}

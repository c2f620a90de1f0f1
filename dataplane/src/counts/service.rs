use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use net::metrics::{Distribution, Histogram};

use super::cells::{Cells, WORKERS_MAX};
use crate::upstream::inflight::here;

/// Status codes that are counted by themselves: those that are registered with IANA, and 499, which nobody gets: the client
/// left before the answer.
const CODES: [u16; 60] = [
    101, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403,
    404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 425, 426, 428, 429,
    431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];
const OTHER: usize = CODES.len();

/// Where each status from 100 to 599 is counted.
const PLACES: [u8; 500] = {
    let mut places = [OTHER as u8; 500];
    let mut at = 0;
    while at < CODES.len() {
        places[CODES[at] as usize - 100] = at as u8;
        at += 1;
    }
    places
};

/// What became of a message, or of a recipient that was refused before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// 250: the application has it.
    Accepted,
    /// 4xx: the client is to try again.
    Deferred,
    /// 5xx.
    Rejected,
    /// 4xx or 5xx to one recipient.
    RecipientRefused,
}

impl Delivered {
    pub const ALL: [(&'static str, Delivered); 4] = [
        ("accepted", Delivered::Accepted),
        ("deferred", Delivered::Deferred),
        ("rejected", Delivered::Rejected),
        ("recipient_refused", Delivered::RecipientRefused),
    ];
}

/// Of one service: its requests by their status, and how long they took; its mail.
pub struct ServiceCounts {
    requests: Box<[Requests]>,
    mail: Cells<{ Delivered::ALL.len() }>,
}

/// Of one worker.
#[repr(align(128))]
struct Requests {
    durations: Histogram,
    by_code: [AtomicU64; OTHER + 1],
}

impl ServiceCounts {
    pub fn new(workers: usize) -> ServiceCounts {
        let requests = |_| Requests {
            durations: Histogram::default(),
            by_code: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        ServiceCounts {
            requests: (0..=workers.min(WORKERS_MAX)).map(requests).collect(),
            mail: Cells::new(workers),
        }
    }

    pub fn request(&self, status: u16, took: Duration) {
        let Some(requests) = self.requests.get(here(self.requests.len().saturating_sub(1))) else {
            return;
        };
        let place = PLACES.get(usize::from(status).wrapping_sub(100));
        let place = place.map_or(OTHER, |place| usize::from(*place));
        requests.by_code[place].fetch_add(1, Ordering::Relaxed);
        requests.durations.record(took);
    }

    pub fn mail(&self, delivered: Delivered) {
        self.mail.add(delivered as usize, 1);
    }

    /// Those that were answered at all; None: by any other status.
    pub fn by_code(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let codes = CODES.into_iter().map(Some).chain([None]);
        let sums = codes.enumerate().map(|(place, code)| {
            let of = |requests: &Requests| requests.by_code[place].load(Ordering::Relaxed);
            (code, self.requests.iter().map(of).sum())
        });
        sums.filter(|(_, sum)| *sum > 0)
    }

    pub fn durations(&self) -> Distribution {
        let mut all = Distribution::default();
        self.requests.iter().for_each(|requests| all.add(&requests.durations));
        all
    }

    pub fn mail_sum(&self, delivered: Delivered) -> u64 {
        self.mail.sum(delivered as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_counter() {
        let counts = ServiceCounts::new(2);
        for status in [0, 99, 100, 200, 200, 299, 499, 599, 600, u16::MAX] {
            counts.request(status, Duration::from_millis(1));
        }
        let by_code: Vec<_> = counts.by_code().collect();
        assert_eq!(by_code, [(Some(200), 2), (Some(499), 1), (None, 7)]);
        assert_eq!(counts.durations().count(), 10);
    }

    #[test]
    fn codes_are_in_order_and_each_is_there_once() {
        assert!(CODES.is_sorted_by(|one, next| one < next));
    }
}

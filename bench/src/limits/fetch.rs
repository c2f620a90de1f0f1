//! What memory costs here: the time of one fetch that the processor cannot begin before the one before it has come.

use std::hint::black_box;
use std::time::Duration;

use crate::process::own_time;

/// One to a cache line, as the slots of limits are.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    next: usize,
}

const FETCHES: u32 = 2_000_000;

/// The mean over lines that lie in as much memory as so many slots, each naming the next by chance.
pub fn dependent(lines: usize) -> Duration {
    let ring = ring(lines);
    let mut at = 0;
    let began = own_time();
    for _ in 0..FETCHES {
        at = ring[at].next;
    }
    let took = own_time() - began;
    black_box(at);
    took / FETCHES
}

/// A single ring through all of them.
fn ring(lines: usize) -> Vec<Line> {
    let mut order: Vec<usize> = (0..lines).collect();
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..lines).rev() {
        // xorshift64: no order that a processor foresees.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        order.swap(last, (chance % (last as u64 + 1)) as usize);
    }
    let mut ring = vec![Line::default(); lines];
    for (n, line) in order.iter().enumerate() {
        ring[*line].next = order[(n + 1) % lines];
    }
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_fetched() {
        let ring = ring(1_000);
        let mut at = ring[0].next;
        let mut seen = 1;
        while at != 0 {
            at = ring[at].next;
            seen += 1;
        }
        assert_eq!(seen, 1_000);
    }
}

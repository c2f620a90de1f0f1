//! What the fuzzer would begin with, for those who have none at hand: messages like those of the corpus, with some bytes
//! of them changed, left out, doubled or taken from another one. The same ones at every run.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

const ROUNDS: u64 = 20_000;

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap()
    }
}

/// Bytes of which parsers make more than of others.
const MEANT: &[u8] = b"\r\n \t:;,0a/*#?%\0\x7f\x80\xff\x0b\"";

fn mutate(bytes: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.roll(bytes.len());
    let end = (at + 1 + dice.roll(8)).min(bytes.len());
    match dice.roll(6) {
        0 => bytes.insert(at, MEANT[dice.roll(MEANT.len())]),
        1 if at < bytes.len() => bytes[at] = MEANT[dice.roll(MEANT.len())],
        2 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let other = &others[dice.roll(others.len())];
            let from = dice.roll(other.len());
            let until = (from + 1 + dice.roll(24)).min(other.len());
            bytes.splice(at..at, other[from..until].iter().copied());
        }
    }
}

fn replay(target: &str) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("corpus");
    let mut inputs: Vec<_> = fs::read_dir(corpus.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|input| fs::read(input).unwrap()).collect();
    for round in 0..ROUNDS {
        let mut dice = Dice(round);
        let mut bytes = inputs[dice.roll(inputs.len())].clone();
        for _ in 0..1 + dice.roll(4) {
            mutate(&mut bytes, &inputs, &mut dice);
        }
        if let Err(panic) = catch_unwind(|| properties::run(target, &bytes)) {
            eprintln!("this was round {round}: {:?}", String::from_utf8_lossy(&bytes));
            resume_unwind(panic);
        }
    }
}

#[test]
fn requests_that_are_nearly_right() {
    replay("request");
}

#[test]
fn answers_that_are_nearly_right() {
    replay("answer");
}

//! Lines are the same however a stream is cut into chunks.

use arbitrary::Arbitrary;
use net::ndjson::{LineTooLong, Lines};

#[derive(Arbitrary, Debug)]
pub struct Input {
    limit: u8,
    /// Lengths of the chunks, over and over.
    cuts: Vec<u8>,
    text: Vec<u8>,
}

pub fn check(input: Input) {
    let limit = usize::from(input.limit);
    let expected = expected(&input.text, limit);
    let cuts: Vec<usize> = input.cuts.iter().map(|cut| usize::from(*cut)).collect();
    assert_eq!(read(&input.text, &cuts, limit), expected);
    assert_eq!(read(&input.text, &[input.text.len()], limit), expected);
    assert_eq!(read(&input.text, &[1], limit), expected);
}

type Read = (Vec<Vec<u8>>, Result<bool, LineTooLong>);

/// The lines, and whether the stream may end behind them.
fn expected(text: &[u8], limit: usize) -> Read {
    let mut lines: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let long = lines.iter().position(|line| line.len() > limit);
    let rest = lines.pop().unwrap_or_default();
    match long {
        Some(at) => {
            lines.truncate(at);
            (lines, Err(LineTooLong { limit }))
        }
        None => (lines, Ok(rest.is_empty())),
    }
}

fn read(mut text: &[u8], cuts: &[usize], limit: usize) -> Read {
    let mut lines = Lines::new(limit);
    let mut seen = Vec::new();
    let mut cuts = cuts.iter().copied().cycle();
    while !text.is_empty() {
        let (chunk, rest) = text.split_at(cuts.next().unwrap_or(usize::MAX).clamp(1, text.len()));
        text = rest;
        lines.push(chunk);
        lines.push(&[]);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => seen.push(line.to_vec()),
                Ok(None) => break,
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(lines.is_between_lines()))
}

//! JSON values as lines, each ended by one `\n`.

use std::fmt;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

/// Cuts a byte stream that comes in chunks into lines. Holds at most `limit` bytes beyond the last chunk pushed.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How far the buffer is known to hold no line end: a long line in many chunks is searched once.
    searched: usize,
    limit: usize,
}

/// A line longer than its reader allows. Nothing further can be read from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl Lines {
    /// `limit`: bytes of a line, its end not counted.
    pub fn new(limit: usize) -> Lines {
        Lines {
            buffer: BytesMut::new(),
            searched: 0,
            limit,
        }
    }

    /// To be followed by calls of `next_line` until it answers `None`.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole line without its end, or `None` until more is pushed.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let too_long = LineTooLong { limit: self.limit };
        match memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            Some(at) => {
                let end = self.searched + at;
                if end > self.limit {
                    return Err(too_long);
                }
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(end);
                self.searched = 0;
                Ok(Some(line.freeze()))
            }
            None if self.buffer.len() > self.limit => Err(too_long),
            None => {
                self.searched = self.buffer.len();
                Ok(None)
            }
        }
    }

    /// Whether the stream may end here: no line has begun.
    pub fn is_between_lines(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// `value` as one line with its end. A value that cannot be JSON (a map with keys that are no strings) becomes an empty
/// line, which no reader takes for a message: whoever sends it has a defect, and the stream ends there.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"{\"a\":1}\n\n{\"b\":\"long enough\"}\n";
        for cut in 1..text.len() {
            let mut lines = Lines::new(64);
            let mut seen = Vec::new();
            for chunk in text.chunks(cut) {
                lines.push(chunk);
                seen.extend(read(&mut lines));
            }
            assert_eq!(seen, ["{\"a\":1}", "", "{\"b\":\"long enough\"}"], "in chunks of {cut}");
            assert!(lines.is_between_lines());
        }
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_over_it_does_not() {
        let mut lines = Lines::new(4);
        lines.push(b"1234\n12345\n");
        assert_eq!(lines.next_line().unwrap().unwrap(), "1234");
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn a_line_without_an_end_is_refused_as_soon_as_it_is_too_long() {
        let mut lines = Lines::new(4);
        lines.push(b"1234");
        assert_eq!(lines.next_line(), Ok(None));
        assert!(!lines.is_between_lines());
        lines.push(b"5");
        assert_eq!(lines.next_line(), Err(LineTooLong { limit: 4 }));
    }

    #[test]
    fn a_value_becomes_one_line() {
        assert_eq!(
            encode(&serde_json::json!({"text": "two\nlines"})),
            "{\"text\":\"two\\nlines\"}\n"
        );
    }
}

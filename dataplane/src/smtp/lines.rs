//! Command lines out of a client's bytes: they end with CRLF, and with nothing else.

use std::ops::Deref;

use memchr::memchr3;

use crate::secret::wipe;

/// Bytes that have come and that nobody has taken. It holds no memory while it is empty.
#[derive(Default)]
pub struct Input {
    bytes: Vec<u8>,
    taken: usize,
    /// No line ends before.
    scanned: usize,
}

/// After any of these nobody knows where the next command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    BareLineFeed,
    BareCarriageReturn,
    Nul,
    TooLong,
}

/// Without its end. It may be a password.
pub struct Line(Vec<u8>);

impl Deref for Line {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.0));
    }
}

impl Input {
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.scanned -= self.taken;
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// What is left.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// `count` of the rest, at most.
    pub fn take(&mut self, count: usize) {
        let end = self.bytes.len().min(self.taken + count);
        // It may have been a password.
        self.bytes[self.taken..end].fill(0);
        self.taken = end;
        self.scanned = self.scanned.max(end);
        if self.is_empty() {
            *self = Input::default();
        }
    }

    /// The next whole line. `bytes_max`: without its end.
    pub fn line(&mut self, bytes_max: usize) -> Result<Option<Line>, Malformed> {
        let end = match memchr3(b'\r', b'\n', 0, &self.bytes[self.scanned..]) {
            Some(at) => self.scanned + at,
            None => self.bytes.len(),
        };
        if end - self.taken > bytes_max {
            return Err(Malformed::TooLong);
        }
        self.scanned = end;
        match self.bytes[end..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(Malformed::BareCarriageReturn),
            [b'\n', ..] => return Err(Malformed::BareLineFeed),
            [_, ..] => return Err(Malformed::Nul),
        }
        let line = Line(self.bytes[self.taken..end].to_vec());
        self.take(line.len() + 2);
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Vec<String>, Option<Malformed>);

    fn read(parts: &[&[u8]], bytes_max: usize) -> Read {
        let mut input = Input::default();
        let mut lines = Vec::new();
        for part in parts {
            input.extend(part);
            loop {
                match input.line(bytes_max) {
                    Ok(Some(line)) => lines.push(String::from_utf8(line.to_vec()).unwrap()),
                    Ok(None) => break,
                    Err(malformed) => return (lines, Some(malformed)),
                }
            }
        }
        (lines, None)
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let table: &[(&[u8], &[&str], Option<Malformed>)] = &[
            (b"EHLO a\r\nNOOP\r\n\r\nQUI", &["EHLO a", "NOOP", ""], None),
            (b"NOOP\nQUIT\r\n", &[], Some(Malformed::BareLineFeed)),
            (b"NOOP\r\nNO\rOP\r\n", &["NOOP"], Some(Malformed::BareCarriageReturn)),
            (b"NOOP\r\r\n", &[], Some(Malformed::BareCarriageReturn)),
            (b"NOOP\r\nNO\0OP\r\n", &["NOOP"], Some(Malformed::Nul)),
            (b"123456789012\r\n", &["123456789012"], None),
            (b"1234567890123\r\n", &[], Some(Malformed::TooLong)),
            (b"1234567890123", &[], Some(Malformed::TooLong)),
        ];
        for (bytes, lines, malformed) in table {
            let expected = (lines.iter().map(ToString::to_string).collect(), *malformed);
            for cut in 0..bytes.len() {
                let (before, after) = bytes.split_at(cut);
                assert_eq!(read(&[before, after], 12), expected, "cut at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&single, 12), expected);
        }
    }

    #[test]
    fn what_was_taken_is_overwritten_and_let_go() {
        let mut input = Input::default();
        input.extend(b"AUTH x\r\nNOOP\r\n");
        input.line(100).unwrap().unwrap();
        assert_eq!(&input.bytes[..8], &[0; 8]);
        assert_eq!(input.rest(), b"NOOP\r\n");
        input.line(100).unwrap().unwrap();
        assert!(input.is_empty() && input.bytes.capacity() == 0);
    }
}

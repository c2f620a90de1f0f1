//! Where a block of lines ends: a head, or trailers.

use memchr::memchr;

use super::Malformed;

/// Goes through a block as its bytes come, each of them once, up to the empty line.
#[derive(Debug, Default)]
pub struct Lines {
    /// Where the first line begins that has not ended yet.
    line: usize,
    /// No line feed stands before this.
    searched: usize,
}

impl Lines {
    /// Says after how many bytes the block ends, once it does. `bytes` begins where the block begins, at every call.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            let line = bytes[self.line..end].strip_suffix(b"\r");
            let line = line.ok_or("a line of the head ends without a carriage return")?;
            self.searched = end + 1;
            self.line = end + 1;
            if line.is_empty() {
                return Ok(Some(end + 1));
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n";
    const END: usize = BLOCK.len() - 8;

    #[test]
    fn the_end_is_found_in_one_piece_and_byte_by_byte() {
        assert_eq!(Lines::default().end(BLOCK), Ok(Some(END)));
        let mut lines = Lines::default();
        for length in 0..END {
            assert_eq!(lines.end(&BLOCK[..length]), Ok(None), "{length}");
        }
        assert_eq!(lines.end(BLOCK), Ok(Some(END)));
        assert_eq!(Lines::default().end(b"\r\n"), Ok(Some(2)));
    }

    #[test]
    fn a_bare_line_feed_is_refused() {
        for block in [
            "\n",
            "HTTP/1.1 200 OK\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\n\r\n",
            "a\r\n\n",
        ] {
            assert!(Lines::default().end(block.as_bytes()).is_err(), "{block:?}");
        }
    }
}

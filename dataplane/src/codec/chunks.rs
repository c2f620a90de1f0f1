//! A body in chunks (RFC 9112, 7.1).

use bytes::{Buf, Bytes, BytesMut};

use super::decoder::Piece;
use super::{Malformed, fields};

/// Extensions and trailers of one body, which carry no data, are at most so long.
const OVERHEAD_MAX: usize = 16 * 1024;

/// ```text
/// Size → SizeLf → Data → DataCr → DataLf → Size …        a chunk
/// Size → SizeLf → Line → (Trailer → TrailerLf → Line)* → EndLf     the last one
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Hexadecimal digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// White space behind the digits.
    Space(u64),
    Extension(u64),
    SizeLf(u64),
    /// So many bytes of data are still to come.
    Data(u64),
    DataCr,
    DataLf,
    /// The beginning of a trailer or of the empty line at the end.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
    End,
    Failed(Malformed),
}

const START: State = State::Size { size: 0, digits: 0 };

#[derive(Debug)]
pub struct Chunks {
    state: State,
    overhead: usize,
    /// Those that have come, as lines.
    trailers: BytesMut,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks {
            state: START,
            overhead: 0,
            trailers: BytesMut::new(),
        }
    }
}

impl Chunks {
    pub fn new() -> Chunks {
        Chunks::default()
    }

    /// Takes the next piece out of what was read. A fault is told behind what stands in front of it.
    pub fn next(&mut self, read: &mut Bytes) -> Result<Piece, Malformed> {
        self.pass_over(read);
        let piece = match self.state {
            State::Failed(fault) => return Err(fault),
            State::End if self.trailers.is_empty() => return Ok(Piece::End),
            State::End => {
                let lines = self.trailers.split().freeze();
                let trailers = fields::parse(&lines);
                let trailers = trailers.inspect_err(|fault| self.state = State::Failed(fault))?;
                return Ok(Piece::Trailers(trailers));
            }
            State::Data(left) if !read.is_empty() => {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                self.state = after_data(left - here as u64);
                Piece::Data(read.split_to(here))
            }
            _ => return Ok(Piece::More),
        };
        self.pass_over(read);
        Ok(piece)
    }

    /// Whether neither data nor trailers come any more.
    pub fn is_over(&self) -> bool {
        self.state == State::End && self.trailers.is_empty()
    }

    /// Up to the next byte of data.
    fn pass_over(&mut self, read: &mut Bytes) {
        let mut at = 0;
        while at < read.len() && !matches!(self.state, State::Data(_) | State::End | State::Failed(_)) {
            let before = self.state;
            self.state = self.step(read[at]).unwrap_or_else(State::Failed);
            if matches!(before, State::Line | State::Trailer | State::TrailerLf | State::EndLf) {
                self.trailers.extend_from_slice(&[read[at]]);
            }
            at += 1;
        }
        read.advance(at);
        if self.state == State::End && self.trailers[..] == *b"\r\n" {
            self.trailers = BytesMut::new();
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, byte) => match char::from(byte).to_digit(16) {
                // 15 digits leave room in what a length is counted with.
                Some(digit) if digits < 15 => State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                },
                Some(_) => return Err("a chunk's size is too large"),
                None if digits == 0 => return Err("a chunk has no size"),
                None if byte == b'\r' => State::SizeLf(size),
                None if byte == b';' => State::Extension(size),
                None if b" \t".contains(&byte) => State::Space(size),
                None => return Err("a chunk's size is not a number"),
            },
            (State::Space(size) | State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Space(size), b';') => State::Extension(size),
            (State::SizeLf(0), b'\n') => State::Line,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => START,
            (State::Line, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::Line,
            (State::EndLf, b'\n') => State::End,
            (State::Space(_) | State::Extension(_) | State::Line | State::Trailer, b'\n') => {
                return Err("a line among the chunks ends without a carriage return");
            }
            (State::Space(size), b' ' | b'\t') => self.over(State::Space(size))?,
            (State::Space(_), _) => return Err("a chunk's size is not a number"),
            (State::Extension(size), _) => self.over(State::Extension(size))?,
            (State::Line | State::Trailer, _) => self.over(State::Trailer)?,
            (State::DataCr | State::DataLf, _) => return Err("a chunk is longer than its size"),
            _ => return Err("a line among the chunks ends without a line feed"),
        })
    }

    fn over(&mut self, next: State) -> Result<State, Malformed> {
        self.overhead += 1;
        match self.overhead > OVERHEAD_MAX {
            true => Err("the chunks' extensions and trailers are too long"),
            false => Ok(next),
        }
    }
}

fn after_data(left: u64) -> State {
    match left {
        0 => State::DataCr,
        left => State::Data(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "5;a=b\r\nhello\r\n00a \r\n0123456789\r\n0\r\nx: y\r\nz: \r\n\r\n";

    /// How many bytes stand behind the body, if its end is in these.
    fn behind(chunks: &mut Chunks, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut read = Bytes::copy_from_slice(bytes);
        loop {
            match chunks.next(&mut read)? {
                Piece::Data(_) | Piece::Trailers(_) => {}
                Piece::More => return Ok(None),
                Piece::End => return Ok(Some(read.len())),
            }
        }
    }

    #[test]
    fn the_end_is_found_in_one_piece_and_byte_by_byte() {
        let stream = format!("{WHOLE}GET / HTTP/1.1\r\n");
        let rest = stream.len() - WHOLE.len();
        assert_eq!(behind(&mut Chunks::new(), stream.as_bytes()), Ok(Some(rest)));

        let mut chunks = Chunks::new();
        let (last, all) = WHOLE.as_bytes().split_last().unwrap();
        for byte in all {
            assert_eq!(behind(&mut chunks, &[*byte]), Ok(None));
        }
        assert_eq!(behind(&mut chunks, &[*last]), Ok(Some(0)));
        assert_eq!(behind(&mut Chunks::new(), b"0 \t\r\n\r\n"), Ok(Some(0)));
    }

    #[test]
    fn anything_but_the_grammar_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5\r\nhelloX\n",
            "5 a\r\nhello\r\n",
            "5;a\nhello\r\n",
            "5;a\rhello\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx: y\rz",
            "0\r\n\n",
            "1234567890abcdef\r\n",
        ] {
            assert!(behind(&mut Chunks::new(), body.as_bytes()).is_err(), "{body:?}");
        }
        let long = format!("1;{}", "a".repeat(OVERHEAD_MAX + 1));
        assert!(behind(&mut Chunks::new(), long.as_bytes()).is_err());
    }
}

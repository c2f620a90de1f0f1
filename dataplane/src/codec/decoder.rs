//! Cuts a body out of a stream.

use bytes::{Buf, Bytes};
use http::header::HeaderMap;

use super::chunks::Chunks;
use super::{Framing, Malformed};

#[derive(Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunks),
    UntilEnd,
    Over,
}

#[derive(Debug, PartialEq)]
pub enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// More has to be read first.
    More,
    End,
}

impl Decoder {
    pub fn new(framing: Framing) -> Decoder {
        match framing {
            Framing::Length(0) => Decoder::Over,
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(Chunks::new()),
            Framing::UntilEnd => Decoder::UntilEnd,
        }
    }

    /// Takes the next piece out of what was read; what stands behind the body stays.
    pub fn next(&mut self, read: &mut Bytes) -> Result<Piece, Malformed> {
        let piece = match self {
            Decoder::Over => return Ok(Piece::End),
            Decoder::Chunked(chunks) => chunks.next(read)?,
            Decoder::Length(_) | Decoder::UntilEnd if read.is_empty() => Piece::More,
            Decoder::UntilEnd => Piece::Data(std::mem::take(read)),
            Decoder::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(read.remaining());
                *left -= here as u64;
                Piece::Data(read.split_to(here))
            }
        };
        if self.is_at_end() {
            *self = Decoder::Over;
        }
        Ok(piece)
    }

    fn is_at_end(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunks) => chunks.is_over(),
            Decoder::UntilEnd => false,
            Decoder::Over => true,
        }
    }

    /// The stream has ended; says whether the body has with it, as it should.
    pub fn end(&mut self) -> bool {
        if let Decoder::UntilEnd = self {
            *self = Decoder::Over;
        }
        self.is_over()
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Decoder::Over)
    }

    /// How many bytes are still to come, if that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Decoder::Length(left) => Some(*left),
            Decoder::Chunked(_) | Decoder::UntilEnd => None,
            Decoder::Over => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// All data, and what stands behind the body, of a stream that comes in pieces of `step` bytes.
    fn decoded(
        framing: Framing,
        stream: &'static str,
        step: usize,
    ) -> Result<(Vec<u8>, Option<HeaderMap>, Bytes), Malformed> {
        let mut decoder = Decoder::new(framing);
        let (mut data, mut trailers, mut read) = (Vec::new(), None, Bytes::new());
        let mut pieces = stream.as_bytes().chunks(step);
        loop {
            match decoder.next(&mut read)? {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::Trailers(all) => trailers = Some(all),
                Piece::End => break,
                Piece::More => match pieces.next() {
                    Some(piece) => read = Bytes::from_static(piece),
                    None if decoder.end() => break,
                    None => return Err("it ended early"),
                },
            }
        }
        let rest: Vec<u8> = pieces.flatten().copied().collect();
        Ok((data, trailers, [&read[..], &rest].concat().into()))
    }

    #[test]
    fn a_body_is_the_same_however_it_comes() {
        const CHUNKED: &str = "3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nrest";
        for step in 1..CHUNKED.len() {
            let (data, trailers, rest) = decoded(Framing::Chunked, CHUNKED, step).unwrap();
            assert_eq!((&data[..], &rest[..]), (&b"abc0123456789"[..], &b"rest"[..]), "{step}");
            let trailers = trailers.unwrap();
            let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
            assert_eq!(sums, ["1", "2"]);
        }
        for step in 1..7 {
            let (data, trailers, rest) = decoded(Framing::Length(3), "abcrest", step).unwrap();
            assert_eq!((&data[..], &rest[..], trailers), (&b"abc"[..], &b"rest"[..], None));
            let (data, ..) = decoded(Framing::UntilEnd, "abcrest", step).unwrap();
            assert_eq!(data, b"abcrest");
        }
    }

    #[test]
    fn a_body_that_ends_early_has_not_ended() {
        assert!(decoded(Framing::Length(8), "abcrest", 2).is_err());
        for stream in ["", "3", "3\r\nab", "3\r\nabc\r\n", "0\r\n", "0\r\na: b\r\n"] {
            assert!(decoded(Framing::Chunked, stream, 2).is_err(), "{stream:?}");
        }
        for stream in ["0\r\na b\r\n\r\n", "0\r\n b: c\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n"] {
            assert!(decoded(Framing::Chunked, stream, 2).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn the_end_is_seen_as_soon_as_it_is_there() {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut read = bytes("3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(decoder.next(&mut read), Ok(Piece::Data(bytes("abc"))));
        assert!(decoder.is_over() && read.is_empty());

        let mut decoder = Decoder::new(Framing::Length(3));
        assert_eq!((decoder.left(), decoder.is_over()), (Some(3), false));
        assert_eq!(decoder.next(&mut bytes("abc")), Ok(Piece::Data(bytes("abc"))));
        assert_eq!((decoder.left(), decoder.is_over()), (Some(0), true));
        assert!(Decoder::new(Framing::Length(0)).is_over());
    }

    /// What was read before it goes on first.
    #[test]
    fn a_fault_is_told_behind_the_data_in_front_of_it() {
        let mut decoder = Decoder::new(Framing::Chunked);
        let mut read = bytes("3\r\nabc\n0\r\n\r\n");
        assert_eq!(decoder.next(&mut read), Ok(Piece::Data(bytes("abc"))));
        assert!(!decoder.is_over());
        assert!(decoder.next(&mut read).is_err());
        assert!(decoder.next(&mut bytes("\r\n0\r\n\r\n")).is_err(), "for good");
    }
}

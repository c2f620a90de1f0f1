//! Puts a body into a stream.

use bytes::Bytes;
use http::header::HeaderMap;

use super::outbox::Outbox;
use super::{Framing, fields};

#[derive(Debug)]
pub enum Encoder {
    /// So many bytes are left.
    Length(u64),
    Chunked,
    UntilEnd,
    Over,
}

/// The body is not as long as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLength;

impl Encoder {
    pub fn new(framing: Framing) -> Encoder {
        match framing {
            Framing::Length(0) => Encoder::Over,
            Framing::Length(length) => Encoder::Length(length),
            Framing::Chunked => Encoder::Chunked,
            Framing::UntilEnd => Encoder::UntilEnd,
        }
    }

    /// `is_last`: neither data nor trailers follow.
    pub fn data(&mut self, data: Bytes, is_last: bool, outbox: &mut Outbox) -> Result<(), WrongLength> {
        let bytes = data.len() as u64;
        match self {
            // An empty chunk would be the last one.
            _ if data.is_empty() => {}
            Encoder::Over => return Err(WrongLength),
            Encoder::UntilEnd => outbox.push(data, b""),
            Encoder::Length(left) => {
                *left = left.checked_sub(bytes).ok_or(WrongLength)?;
                outbox.push(data, b"");
            }
            Encoder::Chunked => {
                write_size(bytes, outbox.lead());
                match is_last {
                    true => {
                        outbox.push(data, b"\r\n0\r\n\r\n");
                        *self = Encoder::Over;
                    }
                    false => outbox.push(data, b"\r\n"),
                }
            }
        }
        match is_last {
            true => self.end(None, outbox),
            false => Ok(()),
        }
    }

    /// Nothing follows. Trailers are left out where they have no place.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, outbox: &mut Outbox) -> Result<(), WrongLength> {
        match std::mem::replace(self, Encoder::Over) {
            Encoder::Length(1..) => return Err(WrongLength),
            Encoder::Chunked => {
                let lead = outbox.lead();
                lead.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    fields::write(trailers, lead);
                }
                lead.extend_from_slice(b"\r\n");
            }
            Encoder::Length(0) | Encoder::UntilEnd | Encoder::Over => {}
        }
        Ok(())
    }

    pub fn is_over(&self) -> bool {
        matches!(self, Encoder::Over)
    }
}

fn write_size(size: u64, out: &mut Vec<u8>) {
    let digits = (u64::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let value = (size >> (4 * digit)) & 15;
        out.push(b"0123456789abcdef"[value as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn data(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn chunks_are_written_with_their_size() {
        let (mut outbox, mut encoder) = (Outbox::default(), Encoder::new(Framing::Chunked));
        encoder.data(data("hello, everybody"), false, &mut outbox).unwrap();
        encoder.data(data(""), false, &mut outbox).unwrap();
        encoder.data(data("!"), true, &mut outbox).unwrap();
        assert!(encoder.is_over());
        assert_eq!(outbox.text(), "10\r\nhello, everybody\r\n1\r\n!\r\n0\r\n\r\n");
        assert_eq!(encoder.data(data("!"), true, &mut outbox), Err(WrongLength));
    }

    #[test]
    fn trailers_end_a_body_in_chunks_only() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let (mut outbox, mut encoder) = (Outbox::default(), Encoder::new(Framing::Chunked));
        encoder.end(Some(&trailers), &mut outbox).unwrap();
        encoder.end(Some(&trailers), &mut outbox).unwrap();
        assert_eq!(outbox.text(), "0\r\nx-sum: 1\r\n\r\n");

        let (mut outbox, mut encoder) = (Outbox::default(), Encoder::new(Framing::Length(2)));
        encoder.data(data("ab"), false, &mut outbox).unwrap();
        encoder.end(Some(&trailers), &mut outbox).unwrap();
        assert_eq!(outbox.text(), "ab");
    }

    #[test]
    fn a_body_is_as_long_as_its_head_says() {
        let mut outbox = Outbox::default();
        let mut length = |bytes, parts: &[&'static str]| {
            let mut encoder = Encoder::new(Framing::Length(bytes));
            for part in parts {
                encoder.data(data(part), false, &mut outbox)?;
            }
            encoder.end(None, &mut outbox)
        };
        assert_eq!(length(4, &["ab", "cd"]), Ok(()));
        assert_eq!(length(0, &[""]), Ok(()));
        for bytes in [0, 1, 3, 5] {
            assert_eq!(length(bytes, &["ab", "cd"]), Err(WrongLength), "{bytes}");
        }
    }

    #[test]
    fn a_size_has_as_many_digits_as_it_needs() {
        for size in [0, 1, 15, 16, 255, 256, 0x10000, u64::MAX] {
            let mut out = Vec::new();
            write_size(size, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{size:x}\r\n"));
        }
    }
}

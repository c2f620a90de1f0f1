use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode, response};
use tokio::net::TcpStream;

use super::Error;
use super::head::Head;
use crate::codec::inflow;
use crate::codec::lines::Lines;

/// An answer's head is at most so long. It may have any number of fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// So many heads may come before that of the answer.
const INTERIM_MAX: u32 = 100;

/// An answer up to the end of its head.
#[derive(Debug)]
pub struct Reading {
    /// The request's method.
    asked: Method,
    lines: Lines,
    /// The beginning of a head that came in pieces.
    begun: BytesMut,
    /// Read behind that.
    read: Bytes,
    is_heard: bool,
    interim: u32,
}

impl Reading {
    pub fn new(asked: Method) -> Reading {
        Reading {
            asked,
            lines: Lines::default(),
            begun: BytesMut::new(),
            read: Bytes::new(),
            is_heard: false,
            interim: 0,
        }
    }

    /// Whether a byte of it has come.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// What was read and does not belong to a head.
    pub fn into_rest(self) -> Bytes {
        self.read
    }

    /// `on_interim` hears what comes before the answer (RFC 9110, 15.2).
    pub fn poll(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        on_interim: &mut impl FnMut(&response::Parts),
    ) -> Poll<Result<Head, Error>> {
        loop {
            while let Some(head) = self.take_head()? {
                let status = head.parts.status;
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Poll::Ready(Err(Error::Malformed("there are too many answers before the answer")));
                }
                on_interim(&head.parts);
            }
            let read = ready!(inflow::poll_read(stream, cx))?;
            if read.is_empty() {
                return Poll::Ready(Err(Error::Ended));
            }
            self.push(read);
        }
    }

    /// What comes next. All that came before has been gone through.
    pub fn push(&mut self, read: Bytes) {
        self.is_heard = true;
        self.read = read;
    }

    /// The next head, if the whole of it has come.
    pub fn take_head(&mut self) -> Result<Option<Head>, Error> {
        if self.read.is_empty() {
            return Ok(None);
        }
        let Some(block) = self.take_block().map_err(Error::Malformed)? else {
            return Ok(None);
        };
        let head = Head::parse(&block, &self.asked).map_err(Error::Malformed)?;
        Ok(Some(head))
    }

    /// A head that came in one piece is copied once, since its fields may be kept, and hold on to nothing else then.
    fn take_block(&mut self) -> Result<Option<Bytes>, &'static str> {
        let before = self.begun.len();
        let end = match before {
            0 => self.lines.end(&self.read)?,
            _ => {
                self.begun.extend_from_slice(&self.read);
                self.lines.end(&self.begun)?
            }
        };
        if end.unwrap_or(before + self.read.len()) > HEAD_BYTES_MAX {
            return Err("the head is too long");
        }
        let Some(end) = end else {
            if before == 0 {
                self.begun.extend_from_slice(&self.read);
            }
            self.read = Bytes::new();
            return Ok(None);
        };
        self.lines = Lines::default();
        let block = match before {
            0 => Bytes::copy_from_slice(&self.read[..end]),
            _ => {
                self.begun.truncate(end);
                std::mem::take(&mut self.begun).freeze()
            }
        };
        self.read.advance(end - before);
        Ok(Some(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statuses of all heads of a stream that comes in pieces of that size, and what is left behind the last.
    fn heads(stream: &str, step: usize) -> Result<(Vec<u16>, Vec<u8>), Error> {
        let mut reading = Reading::new(Method::GET);
        let mut statuses = Vec::new();
        let mut rest = Vec::new();
        for piece in stream.as_bytes().chunks(step) {
            if statuses.last().is_some_and(|status| *status >= 200) {
                rest.extend_from_slice(piece);
                continue;
            }
            reading.push(Bytes::copy_from_slice(piece));
            while let Some(head) = reading.take_head()? {
                statuses.push(head.parts.status.as_u16());
                if head.parts.status.as_u16() >= 200 {
                    rest.extend_from_slice(&std::mem::take(&mut reading.read));
                }
            }
        }
        Ok((statuses, rest))
    }

    #[test]
    fn heads_are_the_same_however_they_come() {
        let stream = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d\r\n\r\nbody";
        for step in 1..=stream.len() {
            let (statuses, rest) = heads(stream, step).unwrap();
            assert_eq!(
                (&statuses[..], &rest[..]),
                (&[100, 103, 200][..], &b"body"[..]),
                "{step}"
            );
        }
    }

    #[test]
    fn a_head_has_its_limit_and_its_fields_have_none() {
        let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(bytes));
        let rest = long(0).len();
        for step in [7, 1000, usize::MAX] {
            assert!(heads(&long(HEAD_BYTES_MAX - rest), step).is_ok());
            assert!(heads(&long(HEAD_BYTES_MAX - rest + 1), step).is_err());
            assert!(heads(&"a".repeat(HEAD_BYTES_MAX + 1), step).is_err());
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000));
        assert!(heads(&many, usize::MAX).is_ok());
    }
}

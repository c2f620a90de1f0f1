//! The head of a request: where it ends, what it says, how its body is delimited, and what is refused.
//!
//! A head is gone through once, line by line as its bytes come. What is not valid is refused; nothing is repaired.

mod room;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Uri, Version};
use memchr::memchr;

pub use self::room::RequestParts;
use crate::codec::{Framing, fields};

/// A head, with the empty line that ends it, is at most so long.
pub const BYTES_MAX: usize = 64 * 1024;
pub const FIELDS_MAX: usize = 100;

/// What this proxy adds to a head, so that its map need not grow for that.
const FIELDS_ADDED: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Up to and with the empty line.
    pub bytes: usize,
    pub framing: Framing,
    /// The client would send another request on this connection (RFC 9112, 9.3).
    pub persists: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed(&'static str),
    TooLarge,
}

use Refused::{Malformed, TooLarge};

/// Goes through a head as its bytes come, each of them once.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where the first line begins that has not ended yet.
    line: usize,
    /// No line feed stands before this.
    searched: usize,
    method: Span,
    target: Span,
    /// The name and the value of each field.
    fields: Vec<(Span, Span)>,
    is_http_11: bool,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
    says_close: bool,
    says_keep_alive: bool,
}

/// Where something stands in a head.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// A part of `line`, which begins at `at`.
    fn of(at: usize, range: std::ops::Range<usize>) -> Span {
        // A head is far shorter than 4 GiB.
        Span {
            from: (at + range.start) as u32,
            to: (at + range.end) as u32,
        }
    }

    fn range(self) -> std::ops::Range<usize> {
        self.from as usize..self.to as usize
    }
}

impl Scan {
    /// Whether no line has ended yet.
    pub fn is_new(&self) -> bool {
        self.line == 0
    }

    /// `bytes` begins where the head begins, at every call.
    pub fn go_on(&mut self, bytes: &[u8]) -> Result<Option<Head>, Refused> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            if end >= BYTES_MAX {
                return Err(TooLarge);
            }
            let line = bytes[self.line..end]
                .strip_suffix(b"\r")
                .ok_or(Malformed("a line of the head ends without a carriage return"))?;
            let at = self.line;
            self.searched = end + 1;
            self.line = end + 1;
            match (at, line) {
                (0, line) => self.request_line(line)?,
                (_, []) => return self.finish(end + 1).map(Some),
                _ if self.fields.len() >= FIELDS_MAX => return Err(TooLarge),
                (at, line) => self.field(at, line)?,
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(None)
    }

    /// The request in the bytes of the whole head; begins anew for the next one.
    pub fn take(&mut self, head: &Bytes) -> Result<RequestParts, Refused> {
        let parts = self.parts(head);
        let fields = std::mem::take(&mut self.fields);
        *self = Scan {
            fields,
            ..Scan::default()
        };
        self.fields.clear();
        parts
    }

    fn parts(&self, head: &Bytes) -> Result<RequestParts, Refused> {
        let mut owned = RequestParts::new();
        let parts = &mut *owned;
        let invalid_target = Malformed("the target is not valid");
        parts.method =
            Method::from_bytes(&head[self.method.range()]).map_err(|_| Malformed("the method is not valid"))?;
        parts.uri = Uri::from_maybe_shared(head.slice(self.target.range())).map_err(|_| invalid_target)?;
        parts.version = match self.is_http_11 {
            true => Version::HTTP_11,
            false => Version::HTTP_10,
        };
        parts.headers.reserve(self.fields.len() + FIELDS_ADDED);
        for (name, value) in &self.fields {
            let name = HeaderName::from_bytes(&head[name.range()]);
            let name = name.map_err(|_| Malformed("the name of a field is not valid"))?;
            let value = HeaderValue::from_maybe_shared(head.slice(value.range()));
            let value = value.map_err(|_| Malformed("the value of a field is not valid"))?;
            parts.headers.append(name, value);
        }
        Ok(owned)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let before = if let Some(before) = line.strip_suffix(b" HTTP/1.1") {
            self.is_http_11 = true;
            before
        } else {
            line.strip_suffix(b" HTTP/1.0")
                .ok_or(Malformed("the first line is not that of an HTTP/1 request"))?
        };
        let space = memchr(b' ', before).ok_or(Malformed("the first line has no target"))?;
        let target = &before[space + 1..];
        if &before[..space] == b"CONNECT" {
            return Err(Malformed("this is no proxy for CONNECT"));
        }
        // Whoever reads targets by the letter drops it.
        if memchr(b'#', target).is_some() {
            return Err(Malformed("the target holds a fragment"));
        }
        if !target.iter().copied().all(is_target_byte) {
            return Err(Malformed("the target is not valid"));
        }
        self.method = Span::of(0, 0..space);
        self.target = Span::of(0, space + 1..before.len());
        Ok(())
    }

    /// `line` begins at `at`.
    fn field(&mut self, at: usize, line: &[u8]) -> Result<(), Refused> {
        let colon = memchr(b':', line).ok_or(Malformed("a line of the head is no field"))?;
        let value = fields::trimmed(line, colon + 1);
        self.fields.push((Span::of(at, 0..colon), Span::of(at, value.clone())));
        let (name, value) = (&line[..colon], &line[value]);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.says_close |= token.eq_ignore_ascii_case(b"close");
            self.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.length.is_some() {
            return Err(Malformed("there is more than one Content-Length"));
        }
        self.length = Some(fields::length(value).map_err(Malformed)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed("the Transfer-Encoding is not a single chunked"));
        }
        if !self.is_http_11 {
            return Err(Malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.has_host {
            return Err(Malformed("there is more than one Host"));
        }
        if value.is_empty() || !value.iter().copied().all(is_host_byte) {
            return Err(Malformed("the Host is not valid"));
        }
        self.has_host = true;
        Ok(())
    }

    fn finish(&self, bytes: usize) -> Result<Head, Refused> {
        if self.is_http_11 && !self.has_host {
            return Err(Malformed("there is no Host"));
        }
        let framing = match (self.is_chunked, self.length) {
            (true, Some(_)) => return Err(Malformed("there is a Content-Length beside a Transfer-Encoding")),
            (true, None) => Framing::Chunked,
            (false, length) => Framing::Length(length.unwrap_or(0)),
        };
        Ok(Head {
            bytes,
            framing,
            persists: !self.says_close && (self.is_http_11 || self.says_keep_alive),
        })
    }
}

/// Visible ASCII, as every form of a target is written with (RFC 9112, 3.2), and what servers take for UTF-8.
fn is_target_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// What a host and a port are written with (RFC 3986, 3.2.2), without what only lists and user names need.
pub fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=[]:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str) -> Result<Option<Head>, Refused> {
        Scan::default().go_on(head.as_bytes())
    }

    fn framing(head: &str) -> Framing {
        scan(head).unwrap().unwrap().framing
    }

    #[track_caller]
    fn refused(head: &str) {
        assert!(matches!(scan(head), Err(Malformed(_))), "{head:?}: {:?}", scan(head));
    }

    #[test]
    fn the_body_is_delimited_by_one_of_two_fields() {
        assert_eq!(framing("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Framing::Length(0));
        assert_eq!(framing("GET / HTTP/1.0\r\n\r\n"), Framing::Length(0));
        assert_eq!(
            framing("POST / HTTP/1.1\r\nhost:a\r\nContent-length: 12\r\n\r\n"),
            Framing::Length(12)
        );
        assert_eq!(
            framing("POST / HTTP/1.1\r\nhost:a\r\nTRANSFER-encoding: Chunked \r\n\r\n"),
            Framing::Chunked
        );
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Host: b\r\n",
            "X: 1\n",
        ] {
            refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        }
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        refused("GET / HTTP/1.1\nHost: a\n\n");
        refused("GET / HTTP/1.1\r\nHost: a\r\n\n");
    }

    #[test]
    fn what_is_no_request_for_this_proxy_is_refused() {
        refused("GET / HTTP/1.1\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost:\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n");
        refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n");
        refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n");
        refused("GET /\r\n\r\n");
        refused("GET /#part HTTP/1.1\r\nHost: a\r\n\r\n");
        refused("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let mut scan = Scan::default();
        let complete = (1..=head.len()).find_map(|n| scan.go_on(&head[..n]).unwrap());
        let expected = Head {
            bytes: head.len() - 3,
            framing: Framing::Length(3),
            persists: true,
        };
        assert_eq!(complete, Some(expected));
    }

    #[test]
    fn a_head_has_its_limits() {
        let fields = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(n - 1));
        assert!(scan(&fields(FIELDS_MAX)).unwrap().is_some());
        assert_eq!(scan(&fields(FIELDS_MAX + 1)), Err(TooLarge));

        let long = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\na: {}\r\n\r\n", "b".repeat(n));
        let rest = long(0).len();
        assert!(scan(&long(BYTES_MAX - rest)).unwrap().is_some());
        assert_eq!(scan(&long(BYTES_MAX - rest + 1)), Err(TooLarge));
        assert_eq!(scan(&"a".repeat(BYTES_MAX)), Err(TooLarge));
    }
}

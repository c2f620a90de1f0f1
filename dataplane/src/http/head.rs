//! The head of a request as bytes: where it ends, how its body is delimited, and what is refused before anyone reads it.
//!
//! This looks at lines only. What stands in them beyond that (tokens, control bytes) is left to the parser behind it,
//! which splits the same lines, since a line feed without its carriage return gets no further than this.

use memchr::memchr;

/// A head, with the empty line that ends it, is at most so long.
pub const BYTES_MAX: usize = 64 * 1024;
pub const FIELDS_MAX: usize = 100;

/// How a request's body is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Zero also when the head says nothing.
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Up to and with the empty line.
    pub bytes: usize,
    pub framing: Framing,
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
    lines: usize,
    is_http_11: bool,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
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
            self.searched = end + 1;
            self.line = end + 1;
            match (self.lines, line) {
                (0, line) => self.request_line(line)?,
                (_, []) => return self.finish(end + 1).map(Some),
                (lines, _) if lines > FIELDS_MAX => return Err(TooLarge),
                (_, line) => self.field(line)?,
            }
            self.lines += 1;
        }
        self.searched = bytes.len();
        if bytes.len() >= BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refused> {
        let before = if let Some(before) = line.strip_suffix(b" HTTP/1.1") {
            self.is_http_11 = true;
            before
        } else {
            line.strip_suffix(b" HTTP/1.0")
                .ok_or(Malformed("the first line is not that of an HTTP/1 request"))?
        };
        if before.starts_with(b"CONNECT ") {
            return Err(Malformed("this is no proxy for CONNECT"));
        }
        // The parser behind this one would drop it.
        if memchr(b'#', before).is_some() {
            return Err(Malformed("the target holds a fragment"));
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        match line[0] | 0x20 {
            b'c' => match value_of(line, b"content-length") {
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            b't' => match value_of(line, b"transfer-encoding") {
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            b'h' => match value_of(line, b"host") {
                Some(value) => self.host(value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.length.is_some() {
            return Err(Malformed("there is more than one Content-Length"));
        }
        // 19 digits fit.
        let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !digits {
            return Err(Malformed("the Content-Length is not a number"));
        }
        self.length = Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
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
        Ok(Head { bytes, framing })
    }
}

/// The value, without the white space around it, if the line is that field.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (field, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    field.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
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

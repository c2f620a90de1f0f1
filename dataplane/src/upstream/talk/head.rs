//! The head of an answer (RFC 9112, 4).

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Response, StatusCode, Version, response};
use hyper::ext::ReasonPhrase;
use memchr::memchr;

use crate::codec::{Framing, Malformed, fields};
use crate::http::fields::tokens;

#[derive(Debug)]
pub struct Head {
    pub parts: response::Parts,
    pub framing: Framing,
    /// The connection may serve another request behind this one.
    pub is_persistent: bool,
}

impl Head {
    /// `block` ends with the empty line. `asked`: the request's method.
    pub fn parse(block: &Bytes, asked: &Method) -> Result<Head, Malformed> {
        let end = memchr(b'\n', block).ok_or("the answer has no head")?;
        let line = block[..end].strip_suffix(b"\r");
        let line = line.ok_or("a line of the head ends without a carriage return")?;
        let mut parts = Response::new(()).into_parts().0;
        (parts.version, parts.status) = status(line)?;
        if let Some(reason) = own_reason(line, parts.status)? {
            parts.extensions.insert(reason);
        }
        parts.headers = fields::parse(&block.slice(end + 1..))?;
        let framing = framing(&parts, asked)?;
        let is_persistent = framing != Framing::UntilEnd
            && is_persistent(parts.version, &parts.headers)
            && !is_contradictory(parts.status, &parts.headers);
        Ok(Head {
            parts,
            framing,
            is_persistent,
        })
    }
}

const NO_STATUS: Malformed = "the first line is not that of an HTTP/1 answer";

fn status(line: &[u8]) -> Result<(Version, StatusCode), Malformed> {
    let (version, rest) = line.split_at_checked(9).ok_or(NO_STATUS)?;
    let version = match version {
        b"HTTP/1.1 " => Version::HTTP_11,
        b"HTTP/1.0 " => Version::HTTP_10,
        _ => return Err(NO_STATUS),
    };
    let (status, rest) = rest.split_at_checked(3).ok_or(NO_STATUS)?;
    if !matches!(rest, [] | [b' ', ..]) {
        return Err(NO_STATUS);
    }
    let status = StatusCode::from_bytes(status).map_err(|_| NO_STATUS)?;
    Ok((version, status))
}

/// What the upstream says of the status, where that is not what everybody does.
fn own_reason(line: &[u8], status: StatusCode) -> Result<Option<ReasonPhrase>, Malformed> {
    let reason = line.get(13..).unwrap_or_default();
    if status
        .canonical_reason()
        .is_some_and(|usual| usual.as_bytes() == reason)
    {
        return Ok(None);
    }
    let reason = ReasonPhrase::try_from(reason).map_err(|_| NO_STATUS)?;
    Ok(Some(reason))
}

/// A body's end is told in one way only: by a length, by chunks, or by the connection's end (RFC 9112, 6.3).
fn framing(answer: &response::Parts, asked: &Method) -> Result<Framing, Malformed> {
    let mut lengths = answer.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let framing = match (lengths.next(), codings.next()) {
        (None, None) => Framing::UntilEnd,
        (Some(length), None) => Framing::Length(fields::length(length.as_bytes())?),
        (None, Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        (None, Some(_)) => return Err("the Transfer-Encoding is not a single chunked"),
        (Some(_), Some(_)) => return Err("there is a Content-Length beside a Transfer-Encoding"),
    };
    if lengths.next().is_some() || codings.next().is_some() {
        return Err("the body's end is told more than once");
    }
    if framing == Framing::Chunked && answer.version == Version::HTTP_10 {
        return Err("HTTP/1.0 has no Transfer-Encoding");
    }
    let status = answer.status;
    let has_none = *asked == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(if has_none { Framing::Length(0) } else { framing })
}

fn is_persistent(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(word));
    match version {
        Version::HTTP_10 => says("keep-alive") && !says("close"),
        _ => !headers.contains_key(header::CONNECTION) || !says("close"),
    }
}

/// A 204 has no body, and this one says how long it is (RFC 9110, 8.6): it may follow all the same.
fn is_contradictory(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let has_length = lengths.any(|length| length.as_bytes().iter().any(|digit| *digit != b'0'));
    status == StatusCode::NO_CONTENT && (has_length || headers.contains_key(header::TRANSFER_ENCODING))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_for(asked: &Method, head: &str) -> Result<Head, Malformed> {
        Head::parse(&Bytes::copy_from_slice(head.as_bytes()), asked)
    }

    fn parse(head: &str) -> Result<Head, Malformed> {
        parse_for(&Method::GET, head)
    }

    fn framing(head: &str) -> Framing {
        parse(head).unwrap().framing
    }

    #[test]
    fn a_head_is_read() {
        let head = parse("HTTP/1.1 404 Not Found\r\nX-One: 1\r\ncontent-length: 12\r\n\r\n").unwrap();
        assert_eq!(
            (head.parts.status.as_u16(), head.parts.version),
            (404, Version::HTTP_11)
        );
        assert_eq!(head.parts.headers["x-one"], "1");
        assert_eq!((head.framing, head.is_persistent), (Framing::Length(12), true));
        assert!(head.parts.extensions.is_empty());
    }

    #[test]
    fn what_the_upstream_says_of_a_status_is_kept() {
        for (line, reason) in [
            ("HTTP/1.1 200 Fine, thanks", "Fine, thanks"),
            ("HTTP/1.1 200 ", ""),
            ("HTTP/1.1 200", ""),
            ("HTTP/1.0 599 \tX", "\tX"),
        ] {
            let head = parse(&format!("{line}\r\n\r\n")).unwrap();
            let kept = head.parts.extensions.get::<ReasonPhrase>().unwrap();
            assert_eq!(kept.as_bytes(), reason.as_bytes());
        }
    }

    #[test]
    fn the_body_is_delimited_in_one_way() {
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilEnd);
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Framing::Chunked
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Framing::Length(0)
        );
        for status in ["101 X", "103 X", "204 No Content", "304 Not Modified"] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(framing(&head), Framing::Length(0), "{status}");
        }
        let head = parse_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!((head.framing, head.is_persistent), (Framing::Length(0), true));
    }

    #[test]
    fn a_connection_lasts_where_both_may_think_so() {
        let lasts = |version: &str, fields: &str| {
            let head = parse(&format!("HTTP/{version} 200 OK\r\n{fields}\r\n")).unwrap();
            head.is_persistent
        };
        let length = "Content-Length: 0\r\n";
        assert!(lasts("1.1", length));
        assert!(lasts("1.1", &format!("{length}Connection: x\r\n")));
        assert!(!lasts("1.1", &format!("{length}Connection: x, Close\r\n")));
        assert!(!lasts("1.1", ""), "its end is the body's");
        assert!(!lasts("1.0", length));
        assert!(lasts("1.0", &format!("{length}Connection: Keep-Alive\r\n")));
    }

    #[test]
    fn behind_a_body_that_cannot_be_nothing_is_believed() {
        let lasts = |head: &str| parse(head).unwrap().is_persistent;
        assert!(lasts("HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(lasts("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"));
        assert!(!lasts("HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n"));
        assert!(!lasts("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert!(lasts("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"));
    }

    #[test]
    fn anything_else_is_refused() {
        for head in [
            "\r\n",
            "nonsense\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            " HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 200 O\x01K\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-One: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-One : 1\r\n\r\n",
        ] {
            assert!(parse(head).is_err(), "{head:?}");
        }
    }
}

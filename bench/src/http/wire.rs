//! As much of HTTP/1.1 as both ends of a measurement need: heads with a Content-Length.

use std::io;

const HEADERS: usize = 64;

/// An answer's head.
pub struct Answer {
    pub head: usize,
    pub status: u16,
    pub length: u64,
}

/// `None` until the whole head is there.
pub fn answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => {
            let status = parsed.code.unwrap_or_default();
            let length = length(parsed.headers)?
                .ok_or_else(|| io::Error::other(format!("an answer {status} without a Content-Length")))?;
            Ok(Some(Answer { head, status, length }))
        }
    }
}

/// A request's head.
pub struct Request {
    pub head: usize,
    pub path: Path,
    pub length: u64,
}

/// What a measured request asks of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Small,
    Large,
    /// Answers after so many milliseconds.
    Wait(u64),
    Unknown,
}

impl From<&str> for Path {
    fn from(path: &str) -> Path {
        match path {
            "/small" | "/upload" => Path::Small,
            "/large" => Path::Large,
            other => other
                .strip_prefix("/wait/")
                .and_then(|ms| ms.parse().ok())
                .map_or(Path::Unknown, Path::Wait),
        }
    }
}

pub fn request(bytes: &[u8]) -> io::Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes).map_err(io::Error::other)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => Ok(Some(Request {
            head,
            path: parsed.path.unwrap_or_default().into(),
            length: length(parsed.headers)?.unwrap_or(0),
        })),
    }
}

fn length(headers: &[httparse::Header<'_>]) -> io::Result<Option<u64>> {
    if headers
        .iter()
        .any(|header| header.name.eq_ignore_ascii_case("transfer-encoding"))
    {
        return Err(io::Error::other(
            "a chunked message where a Content-Length was expected",
        ));
    }
    let Some(header) = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
    else {
        return Ok(None);
    };
    let value = std::str::from_utf8(header.value).map_err(io::Error::other)?;
    Ok(Some(value.parse().map_err(io::Error::other)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap().is_none());
        let whole = answer(b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\nbody")
            .unwrap()
            .unwrap();
        assert_eq!((whole.status, whole.length, whole.head), (204, 7, 46));
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let asked = request(b"POST /upload HTTP/1.1\r\nContent-Length: 10240\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!((asked.path, asked.length), (Path::Small, 10240));
        assert!(request(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert_eq!(Path::from("/wait/2000"), Path::Wait(2000));
    }
}

//! A client's bytes: the proxy's own reading of where a request ends, against that of the HTTP parser behind it. Two
//! readings of one stream are how requests are smuggled.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dataplane::codec::chunks::Chunks;
use dataplane::http::forwarded::Forwarding;
use dataplane::http::head::{BYTES_MAX, Framing, Head, Refused, Scan};
use dataplane::http::target;
use futures_util::FutureExt;
use http::{Request, Response, Version, header, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fields;

/// As the edge gives it to its parser.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

pub fn check(bytes: &[u8]) {
    // Empty lines before a request are passed over.
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let scanned = Scan::default().go_on(bytes);
    assert_eq!(scanned, scan_in_pieces(bytes));
    let Ok(Some(head)) = scanned else { return };
    assert!(head.bytes <= BYTES_MAX && bytes[..head.bytes].ends_with(b"\r\n\r\n"));
    let body = &bytes[head.bytes..];
    match body_end(head, body) {
        Some(Ok(end)) => whole(&bytes[..head.bytes + end], head, end),
        Some(Err(())) => {}
        None => {
            for seen in serve(bytes) {
                assert!(seen.body.is_err(), "the parser takes a part for the whole");
            }
        }
    }
}

fn scan_in_pieces(bytes: &[u8]) -> Result<Option<Head>, Refused> {
    let mut scan = Scan::default();
    let piece = 1 + bytes.len() % 7;
    let mut at = 0;
    while at < bytes.len() {
        at = (at + piece).min(bytes.len());
        if let Some(head) = scan.go_on(&bytes[..at])? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Where the body ends; none: not in these bytes.
fn body_end(head: Head, body: &[u8]) -> Option<Result<usize, ()>> {
    let end = match head.framing {
        Framing::Length(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= body.len())
            .map(Ok),
        Framing::Chunked => Chunks::new().go_on(body).map_err(drop).transpose(),
    };
    if head.framing == Framing::Chunked {
        let mut chunks = Chunks::new();
        let mut at = 0;
        let pieces = body.chunks(1 + body.len() % 5).find_map(|piece| {
            let went = chunks
                .go_on(piece)
                .map_err(drop)
                .transpose()
                .map(|end| end.map(|end| at + end));
            at += piece.len();
            went
        });
        assert_eq!(pieces, end);
    }
    end
}

/// One whole request: the parser sees that one, or none at all.
fn whole(bytes: &[u8], head: Head, end: usize) {
    let seen = serve(bytes);
    assert!(seen.len() <= 1, "{} requests in one", seen.len());
    for Seen { head: parts, body } in seen {
        match (body, head.framing) {
            (Ok(length), Framing::Length(expected)) => assert_eq!(length as u64, expected),
            (Ok(length), Framing::Chunked) => assert!(length <= end),
            // Nothing is wrong with refusing it.
            (Err(error), _) => assert!(!is_unfinished(&error), "the parser waits for more"),
        }
        told(parts);
    }
}

struct Seen {
    head: request::Parts,
    /// Its length.
    body: hyper::Result<usize>,
}

fn is_unfinished(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_incomplete_message() || cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof)
}

fn serve(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes().len());
            seen.borrow_mut().push(Seen { head, body });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let io = TokioIo::new(Stream { rest: bytes.to_vec() });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .half_close(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Whether it ends well is not asked: refusing is always right.
    runtime.block_on(http.serve_connection(io, service).map(drop));
    seen.take()
}

/// What routing and the upstream are told of it.
fn told(mut head: request::Parts) {
    if target::to_origin_form(&mut head).is_err() {
        return;
    }
    let path = head.uri.path();
    assert!(head.uri.authority().is_none() && (path.starts_with('/') || path == "*"));
    assert_eq!(
        head.headers.get_all(header::HOST).iter().count(),
        usize::from(head.headers.contains_key(header::HOST))
    );
    let host = target::host(&head.headers).to_owned();
    assert!(head.version == Version::HTTP_10 || !host.is_empty());
    assert!(
        !host.contains(|c: char| !c.is_ascii_graphic() || "/\\?#@\"<>,".contains(c)),
        "{host:?}"
    );
    fields::taken(&mut head.headers);
    let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
    Forwarding::new(address(1), address(80), &[]).write(&mut head.headers);
    let forwarded = head.headers[header::FORWARDED].to_str().expect("visible ASCII");
    assert_eq!(forwarded, format!("for=192.0.2.1;host=\"{host}\";proto=http"));
}

/// Bytes, and then the end.
struct Stream {
    rest: Vec<u8>,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let taken = buf.remaining().min(self.rest.len());
        buf.put_slice(&self.rest[..taken]);
        self.rest.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

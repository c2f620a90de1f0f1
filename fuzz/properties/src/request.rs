//! A client's bytes: the proxy's own reading of a request, against that of another parser. Two readings of one stream are
//! how requests are smuggled.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dataplane::codec::Framing;
use dataplane::codec::decoder::{Decoder, Piece};
use dataplane::http::forwarded::Forwarding;
use dataplane::http::head::{BYTES_MAX, Head, Refused, RequestParts, Scan};
use dataplane::http::target;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, Version, header, request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fields;

/// More than a head may have.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// The other parser has that limit, this one another.
const TRAILERS_MAX: usize = 100;

pub fn check(bytes: &[u8]) {
    // Empty lines before a request are passed over.
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let mut scan = Scan::default();
    let scanned = scan.go_on(bytes);
    assert_eq!(scanned, scan_in_pieces(bytes));
    let Ok(Some(head)) = scanned else { return };
    assert!(head.bytes <= BYTES_MAX && bytes[..head.bytes].ends_with(b"\r\n\r\n"));
    let Ok(parts) = scan.take(&Bytes::copy_from_slice(&bytes[..head.bytes])) else {
        return;
    };
    assert!(scan.is_new());
    match body_of(head.framing, &bytes[head.bytes..]) {
        Some(Ok(body)) => whole(&bytes[..bytes.len() - body.rest], &parts, &head, &body),
        Some(Err(())) => {}
        None => {
            for seen in serve(bytes) {
                assert!(seen.body.is_err(), "the parser takes a part for the whole");
            }
        }
    }
    told(parts);
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

#[derive(Debug, Default, PartialEq)]
struct Read {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// So many bytes stand behind it.
    rest: usize,
}

/// What is read of a body; none: it does not end in these bytes.
fn body_of(framing: Framing, body: &[u8]) -> Option<Result<Read, ()>> {
    let read = read_in_pieces(framing, body, body.len().max(1));
    assert_eq!(read, read_in_pieces(framing, body, 1 + body.len() % 5));
    read
}

fn read_in_pieces(framing: Framing, body: &[u8], piece: usize) -> Option<Result<Read, ()>> {
    let mut decoder = Decoder::new(framing);
    let mut read = Read::default();
    let mut pieces = body.chunks(piece);
    let mut here = Bytes::new();
    loop {
        match decoder.next(&mut here) {
            Ok(Piece::Data(data)) => read.data.extend_from_slice(&data),
            Ok(Piece::Trailers(trailers)) => read.trailers = Some(trailers),
            Ok(Piece::More) => here = Bytes::copy_from_slice(pieces.next()?),
            Ok(Piece::End) => break,
            Err(_) => return Some(Err(())),
        }
    }
    read.rest = here.len() + pieces.map(<[u8]>::len).sum::<usize>();
    Some(Ok(read))
}

/// One whole request: both see the same.
fn whole(bytes: &[u8], parts: &request::Parts, head: &Head, body: &Read) {
    if body
        .trailers
        .as_ref()
        .is_some_and(|trailers| trailers.len() > TRAILERS_MAX)
    {
        return;
    }
    let [seen] = &serve(bytes)[..] else {
        panic!("the parser sees no request, or more than one");
    };
    assert_eq!((&seen.head.method, &seen.head.uri), (&parts.method, &parts.uri));
    assert_eq!((seen.head.version, &seen.head.headers), (parts.version, &parts.headers));
    let (data, trailers) = seen.body.as_ref().expect("the parser refuses the body");
    assert_eq!(*data, body.data);
    assert_eq!(trailers.as_ref(), body.trailers.as_ref());
    // The parser does not look into values that are no ASCII.
    let mut said = parts.headers.get_all(header::CONNECTION).iter();
    if said.all(|value| value.to_str().is_ok()) {
        assert_eq!(seen.persists, head.persists, "whether there may be another request");
    }
}

struct Seen {
    head: request::Parts,
    body: hyper::Result<(Bytes, Option<HeaderMap>)>,
    persists: bool,
}

fn serve(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| {
                let trailers = body.trailers().cloned();
                (body.to_bytes(), trailers)
            });
            seen.borrow_mut().push(Seen {
                head,
                body,
                persists: false,
            });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let written = Rc::new(RefCell::new(Vec::new()));
    let io = TokioIo::new(Stream {
        rest: bytes.to_vec(),
        written: written.clone(),
    });
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .half_close(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Whether it ends well is not asked: refusing is always right.
    runtime.block_on(http.serve_connection(io, service).map(drop));
    let mut seen = seen.take();
    // Told by the answer, of which there is one if there is one request.
    let answer = String::from_utf8_lossy(&written.borrow()).to_lowercase();
    let is_kept = |answer: &str| match answer.starts_with("http/1.0") {
        true => answer.contains("connection: keep-alive"),
        false => !answer.contains("connection: close"),
    };
    seen.iter_mut().for_each(|seen| seen.persists = is_kept(&answer));
    seen
}

/// What routing and the upstream are told of it.
fn told(mut head: RequestParts) {
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
    match host.is_empty() {
        true => assert_eq!(forwarded, "for=192.0.2.1;proto=http"),
        false => assert_eq!(forwarded, format!("for=192.0.2.1;host=\"{host}\";proto=http")),
    }
}

/// Bytes, and then the end.
struct Stream {
    rest: Vec<u8>,
    written: Rc<RefCell<Vec<u8>>>,
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
        self.written.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request;
use http_body::{Body, Frame};
use tokio::net::TcpStream;

use super::Error;
use crate::codec::encoder::Encoder;
use crate::codec::outbox::{Outbox, ROUNDS_MAX};
use crate::codec::{Framing, fields};

/// A request on its way to the socket.
///
/// A server that answers early and closes resets the connection under the rest of the upload; its answer is still there to be
/// read. So a failed write is no error: what is written from then on is dropped, and reading tells how it ended.
pub struct Writing<B> {
    outbox: Outbox,
    /// So much of what is in the outbox belongs to the head.
    head_left: usize,
    encoder: Encoder,
    /// Until its end has come.
    body: Option<B>,
    is_deaf: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Writing<B> {
    pub fn new(head: &request::Parts, body: B) -> Writing<B> {
        let body = (!body.is_end_stream()).then_some(body);
        let framing = framing(&head.headers, body.is_none());
        let mut outbox = Outbox::default();
        write_head(head, framing, outbox.lead());
        Writing {
            head_left: outbox.left(),
            outbox,
            encoder: Encoder::new(framing),
            body,
            is_deaf: false,
        }
    }

    /// Whether the whole head is with the kernel, or will never be.
    pub fn is_head_written(&self) -> bool {
        self.head_left == 0
    }

    /// Whether the upstream has stopped reading: of what was written since nothing has arrived.
    pub fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    pub fn is_done(&self) -> bool {
        self.body.is_none() && self.outbox.is_empty()
    }

    /// Ready when all of it is with the kernel.
    pub fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..ROUNDS_MAX {
            self.gather(cx)?;
            if self.is_done() {
                return Poll::Ready(Ok(()));
            }
            if self.outbox.is_empty() {
                return Poll::Pending;
            }
            match ready!(self.outbox.poll_write(stream, cx)) {
                Ok(bytes) => self.head_left = self.head_left.saturating_sub(bytes),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    self.is_deaf = true;
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// As much of the body as there is and has room.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        loop {
            if self.is_deaf {
                self.outbox.clear();
                self.head_left = 0;
            }
            let Some(body) = self.body.as_mut().filter(|_| self.outbox.has_room()) else {
                return Ok(());
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => None,
                Poll::Ready(Some(Ok(frame))) => Some(frame),
                Poll::Ready(Some(Err(_))) => {
                    self.body = None;
                    return Err(Error::Aborted);
                }
            };
            self.put(frame)?;
        }
    }

    fn put(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Error> {
        let is_over = self.body.as_ref().is_none_or(Body::is_end_stream);
        let (put, is_last) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (self.encoder.data(data, is_over, &mut self.outbox), is_over),
            Some(Err(frame)) => (self.encoder.end(frame.trailers_ref(), &mut self.outbox), true),
            None => (self.encoder.end(None, &mut self.outbox), true),
        };
        if is_last || put.is_err() {
            self.body = None;
        }
        put.map_err(|_| Error::Aborted)
    }
}

/// As the head says, in one way; where it says nothing of a body that there is, that comes in chunks.
fn framing(headers: &HeaderMap, is_empty: bool) -> Framing {
    if is_empty {
        return Framing::Length(0);
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| fields::length(length.as_bytes()).ok());
    match length {
        Some(length) if !headers.contains_key(header::TRANSFER_ENCODING) => Framing::Length(length),
        _ => Framing::Chunked,
    }
}

/// In origin form.
fn write_head(head: &request::Parts, framing: Framing, out: &mut Vec<u8>) {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let is_chunked = framing == Framing::Chunked;
    for (name, value) in &head.headers {
        let is_left_out = match *name {
            header::TRANSFER_ENCODING => true,
            header::CONTENT_LENGTH => is_chunked,
            _ => false,
        };
        if !is_left_out {
            fields::write_one(name, value, out);
        }
    }
    if is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::{Empty, Full};

    use super::*;

    fn head_of<B: Body<Data = Bytes> + Unpin>(request: Request<B>) -> String {
        let (head, body) = request.into_parts();
        Writing::new(&head, body).outbox.text()
    }

    #[test]
    fn a_head_says_how_its_body_ends() {
        let full = |request: http::request::Builder| request.body(Full::new(Bytes::from_static(b"body"))).unwrap();
        let post = || Request::post("/a?b").header("Host", "a");
        assert_eq!(
            head_of(full(post())),
            "POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            head_of(full(post().header("content-length", "4"))),
            "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"
        );
        assert_eq!(
            head_of(full(
                post()
                    .header("content-length", "4")
                    .header("transfer-encoding", "chunked")
            )),
            "POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let none = post()
            .header("transfer-encoding", "chunked")
            .body(Empty::new())
            .unwrap();
        assert_eq!(head_of(none), "POST /a?b HTTP/1.1\r\nhost: a\r\n\r\n");
        let none = post().header("content-length", "0").body(Empty::new()).unwrap();
        assert_eq!(
            head_of(none),
            "POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_target_is_told_in_origin_form() {
        for (uri, line) in [
            ("*", "OPTIONS * HTTP/1.1\r\n\r\n"),
            ("http://a.test/b?c", "OPTIONS /b?c HTTP/1.1\r\n\r\n"),
            ("http://a.test", "OPTIONS / HTTP/1.1\r\n\r\n"),
        ] {
            let request = Request::options(uri).body(Empty::new()).unwrap();
            assert_eq!(head_of(request), line);
        }
    }
}

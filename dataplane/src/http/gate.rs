//! The client's socket as hyper sees it: only whole and sound heads get through, one request at a time.
//!
//! ```text
//! Head → Length | Chunked → Rest → Head …            anything → Over
//! ```
//!
//! hyper answers a bad head by itself, with an empty body; it reads a message with a Content-Length beside a
//! Transfer-Encoding; and what a client sends ahead of its turn it takes for the next request at once. So a head is
//! looked at before hyper has it, a refused one ends the stream for hyper, and whoever serves the connection answers.

use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::gather::poll_write_gathered;
use super::head::{Framing, Head, Refused, Scan};
use super::session::{Fault, Session};
use crate::codec::chunks::Chunks;

/// Of what a client has sent ahead. No more is read, and its FIN behind it goes unseen until its turn has come.
const AHEAD_MAX: usize = super::head::BYTES_MAX;
const READ_BYTES: usize = 4096;

enum State {
    /// Between two requests, or within a head.
    Head,
    /// Bytes left of the body.
    Length(u64),
    Chunked(Chunks),
    /// The request has passed, its answer has not: the client is watched, and what it sends is kept.
    Rest,
    Over,
}

pub struct Gate {
    io: Take<TcpStream>,
    session: Rc<Session>,
    state: State,
    scan: Scan,
    /// Read, but not handed on: a part of a head, or what came ahead of its turn.
    kept: BytesMut,
    /// So many of the first bytes of `kept` may pass.
    cleared: usize,
    refused: Option<Refused>,
    half_close: bool,
    /// The client's FIN has come.
    has_ended: bool,
    /// hyper waits for the next request, and no event of the socket need come before it.
    is_deferred: bool,
}

impl Gate {
    pub fn new(stream: TcpStream, session: Rc<Session>, half_close: bool) -> Gate {
        Gate {
            io: stream.take(u64::MAX),
            session,
            state: State::Head,
            scan: Scan::default(),
            kept: BytesMut::new(),
            cleared: 0,
            refused: None,
            half_close,
            has_ended: false,
            is_deferred: false,
        }
    }

    /// Why the stream has ended for hyper, if the client's bytes are the reason.
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Whether the client may still be sending something that nobody will read.
    pub fn is_unread(&self) -> bool {
        self.refused.is_some() || !self.kept.is_empty() || matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// The socket, and what was read from it and not handed on.
    pub fn into_parts(self) -> (TcpStream, Bytes) {
        (self.io.into_inner(), self.kept.freeze())
    }

    /// The usual case: a whole head in one read stays where it was read to. Otherwise it is collected in `kept`.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Empty lines before a request are passed over (RFC 9112, 2.2).
        while self.scan.is_new() && self.kept.starts_with(b"\r\n") {
            drop(self.kept.split_to(2));
        }
        if self.kept.is_empty() && (self.has_ended || (self.session.is_over() && !self.looks_again())) {
            self.state = State::Over;
            return Poll::Ready(Ok(()));
        }
        if self.kept.is_empty() {
            let before = buf.filled().len();
            let read = ready!(self.poll_into(cx, buf, u64::MAX))?;
            if read == 0 {
                self.state = State::Over;
                return Poll::Ready(Ok(()));
            }
            let new = &buf.filled()[before..];
            let mut scan = Scan::default();
            if new[0] != b'\r' {
                match scan.go_on(new) {
                    Ok(Some(head)) => {
                        let passes = self.pass(head, new);
                        self.kept.extend_from_slice(&new[passes..]);
                        buf.set_filled(before + passes);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => self.scan = scan,
                    Err(refused) => self.refuse(refused),
                }
            }
            self.kept.extend_from_slice(new);
            buf.set_filled(before);
        }
        self.poll_collect(cx)
    }

    /// A last look at the socket, whatever tokio has heard of it: a request that is there already is served.
    fn looks_again(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES];
        let read = (&*SockRef::from(self.io.get_ref())).read(&mut bytes).unwrap_or(0);
        self.kept.extend_from_slice(&bytes[..read]);
        read > 0
    }

    fn poll_collect(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.head_began();
        while self.refused.is_none() {
            if self.kept.starts_with(b"\r\n") && self.scan.is_new() {
                return Poll::Ready(Ok(()));
            }
            if &self.kept[..] != b"\r" {
                match self.scan.go_on(&self.kept) {
                    Ok(Some(head)) => {
                        let kept = self.kept.split();
                        self.cleared = self.pass(head, &kept);
                        self.kept = kept;
                        self.scan = Scan::default();
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) => {}
                    Err(refused) => {
                        self.refuse(refused);
                        break;
                    }
                }
            }
            if ready!(self.poll_keep(cx))? == 0 {
                self.refuse(Refused::Malformed("the head has no end"));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// A head, and what of its body stands behind it in `bytes`, may pass; says how many bytes that is.
    fn pass(&mut self, head: Head, bytes: &[u8]) -> usize {
        let body = &bytes[head.bytes..];
        self.session.request_began();
        let taken = match head.framing {
            Framing::Length(length) => self.pass_length(length, body.len()),
            Framing::Chunked => self.pass_chunks(Chunks::new(), body),
        };
        if let State::Rest = self.state {
            self.session.request_ended();
        }
        head.bytes + taken
    }

    fn pass_length(&mut self, left: u64, available: usize) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        self.state = match left - taken as u64 {
            0 => State::Rest,
            left => State::Length(left),
        };
        taken
    }

    fn pass_chunks(&mut self, mut chunks: Chunks, body: &[u8]) -> usize {
        match chunks.go_on(body) {
            Ok(Some(taken)) => {
                self.state = State::Rest;
                taken
            }
            Ok(None) => {
                self.state = State::Chunked(chunks);
                body.len()
            }
            Err(detail) => {
                self.session.failed(Fault::Malformed(detail));
                self.state = State::Over;
                0
            }
        }
    }

    fn refuse(&mut self, refused: Refused) {
        self.refused = Some(refused);
        self.state = State::Over;
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let limit = match self.state {
            State::Length(left) => left,
            _ => u64::MAX,
        };
        let before = buf.filled().len();
        let Poll::Ready(read) = self.poll_into(cx, buf, limit) else {
            self.session.awaits_client();
            return Poll::Pending;
        };
        let read = read?;
        self.session.received(read);
        if read == 0 {
            self.session.failed(Fault::Gone);
            self.state = State::Over;
            return Poll::Ready(Ok(()));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Chunked(chunks) => {
                let new = &buf.filled()[before..];
                let passes = self.pass_chunks(chunks, new);
                self.kept.extend_from_slice(&new[passes..]);
                buf.set_filled(before + passes);
            }
            State::Length(left) => {
                self.pass_length(left, read);
            }
            _ => {}
        }
        match self.state {
            State::Rest => self.session.request_ended(),
            State::Over => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the next request may begin, or when the client has gone.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.turn() {
            self.state = State::Head;
            return Poll::Ready(Ok(()));
        }
        while !self.has_ended && self.kept.len() < AHEAD_MAX {
            match self.poll_keep(cx)? {
                Poll::Ready(0) if !self.half_close => {
                    self.session.failed(Fault::Gone);
                    self.state = State::Over;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        self.is_deferred = self.has_ended || !self.kept.is_empty();
        Poll::Pending
    }

    fn poll_into(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>, limit: u64) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        self.io.set_limit(limit);
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(Ok(buf.filled().len() - before))
    }

    fn poll_keep(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.has_ended {
            return Poll::Ready(Ok(0));
        }
        self.kept.reserve(READ_BYTES);
        let read = ready!(poll_read_buf(Pin::new(self.io.get_mut()), cx, &mut self.kept))?;
        self.has_ended = read == 0;
        Poll::Ready(Ok(read))
    }
}

impl AsyncRead for Gate {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            if gate.cleared > 0 {
                let passes = gate.cleared.min(buf.remaining());
                buf.put_slice(&gate.kept.split_to(passes));
                gate.cleared -= passes;
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            match gate.state {
                State::Head => ready!(gate.poll_head(cx, buf))?,
                State::Length(_) | State::Chunked(_) => return gate.poll_body(cx, buf),
                State::Rest => ready!(gate.poll_rest(cx))?,
                State::Over => return Poll::Ready(Ok(())),
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if !gate.session.is_served() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(gate.io.get_mut()).poll_write(cx, buf);
        gate.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if !gate.session.is_served() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = poll_write_gathered(gate.io.get_mut(), cx, bufs);
        gate.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls it only when it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.session.flushed() && gate.is_deferred {
            gate.is_deferred = false;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// How the connection ends is for whoever serves it to say.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Gate {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.session.sent(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.session.awaits_reader(),
        }
        written
    }
}

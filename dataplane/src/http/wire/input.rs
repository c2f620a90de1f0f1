//! What comes from a client: heads, bodies, and what it sends ahead of its turn.

use std::io::{self, Read};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Frame;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::Stop;
use crate::codec::decoder::{Decoder, Piece};
use crate::codec::inflow;
use crate::http::head::{self, Head, Refused, RequestParts, Scan};
use crate::http::session::{Fault, Session};

/// Of what a client has sent ahead. No more is read, and its FIN behind it goes unseen until its turn has come.
const AHEAD_MAX: usize = head::BYTES_MAX;
/// What is shorter and has to wait is copied, so that it does not keep the worker's buffer.
const COPIED_MAX: usize = 4096;
const LOOK_BYTES: usize = 4096;
/// Before a request: some clients send one behind a body, and nobody sends many.
const EMPTY_LINES_MAX: u8 = 8;
/// Most heads are shorter.
const BLOCK_BYTES: usize = 1024;

#[derive(Default)]
enum Reading {
    /// Between two requests, or within a head.
    #[default]
    Head,
    Body(Decoder),
    /// The request has been read, its answer has not been sent: the client is watched, and what it sends is kept.
    Rest,
    Over,
}

#[derive(Default)]
pub struct Input {
    reading: Reading,
    scan: Scan,
    /// That came before the next request.
    empty_lines: u8,
    /// Of the last read, as long as nothing else has to be joined to it. Of this and `kept` one is empty.
    read: Bytes,
    /// A part of a head, or what came ahead of its turn.
    kept: BytesMut,
    /// The client's FIN has come.
    has_ended: bool,
}

impl Input {
    /// Whether the client may still be sending something that nobody will read.
    pub fn is_unread(&self) -> bool {
        let is_within = match self.reading {
            Reading::Head | Reading::Rest => false,
            Reading::Body(_) => true,
            Reading::Over => !self.has_ended,
        };
        is_within || !self.is_quiet()
    }

    /// Nothing is there that has not been handed on.
    fn is_quiet(&self) -> bool {
        self.read.is_empty() && self.kept.is_empty()
    }

    pub fn into_rest(self) -> Bytes {
        match self.kept.is_empty() {
            true => self.read,
            false => self.kept.freeze(),
        }
    }

    /// The next request, or none where no more come.
    pub fn poll_request(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        session: &Session,
    ) -> Poll<Result<Option<(RequestParts, Head)>, Stop>> {
        loop {
            if let Some((parts, head)) = self.next_request()? {
                session.request_began();
                if let Reading::Rest = self.reading {
                    session.request_ended();
                }
                return Poll::Ready(Ok(Some((parts, head))));
            }
            if !self.is_quiet() {
                session.head_began();
                if self.has_ended {
                    return Poll::Ready(Err(Refused::Malformed("the head has no end").into()));
                }
            } else if self.has_ended || (session.is_over() && !self.looks_again(stream)) {
                return Poll::Ready(Ok(None));
            } else if !self.is_quiet() {
                continue;
            }
            ready!(self.poll_more(stream, cx))?;
        }
    }

    /// A last look at the socket, whatever tokio has heard of it: a request that is there already is served.
    fn looks_again(&mut self, stream: &TcpStream) -> bool {
        let mut bytes = [0; LOOK_BYTES];
        let read = (&*SockRef::from(stream)).read(&mut bytes).unwrap_or(0);
        self.kept.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// The request whose head is whole.
    fn next_request(&mut self) -> Result<Option<(RequestParts, Head)>, Refused> {
        // Empty lines before a request are passed over (RFC 9112, 2.2).
        while self.scan.is_new() && self.ahead().starts_with(b"\r\n") {
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES_MAX {
                return Err(Refused::Malformed("there are too many empty lines"));
            }
            self.forget(2);
        }
        if matches!(self.ahead(), b"" | b"\r") {
            return Ok(None);
        }
        let bytes = if self.kept.is_empty() {
            &self.read[..]
        } else {
            &self.kept
        };
        let Some(head) = self.scan.go_on(bytes)? else {
            self.settle();
            return Ok(None);
        };
        // Parts of it may be kept for long, and it is short. As long as others, so that the next one has its place in memory,
        // and overwrites what was secret in it.
        let mut block = BytesMut::with_capacity(head.bytes.next_multiple_of(BLOCK_BYTES));
        block.extend_from_slice(&bytes[..head.bytes]);
        let block = block.freeze();
        self.forget(head.bytes);
        if !self.kept.is_empty() {
            self.read = std::mem::take(&mut self.kept).freeze();
        }
        self.settle();
        self.empty_lines = 0;
        let parts = self.scan.take(&block)?;
        let decoder = Decoder::new(head.framing);
        self.reading = match decoder.is_over() {
            true => Reading::Rest,
            false => Reading::Body(decoder),
        };
        Ok(Some((parts, head)))
    }

    fn ahead(&self) -> &[u8] {
        if self.kept.is_empty() { &self.read } else { &self.kept }
    }

    fn forget(&mut self, bytes: usize) {
        if self.kept.is_empty() {
            self.read.advance(bytes);
        } else {
            self.kept.advance(bytes);
        }
    }

    /// What is there may have to wait.
    fn settle(&mut self) {
        if self.read.len() < COPIED_MAX {
            self.read = Bytes::copy_from_slice(&self.read);
        }
    }

    fn poll_more(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let more = ready!(inflow::poll_read(stream, cx))?;
        if more.is_empty() {
            self.has_ended = true;
        } else if self.is_quiet() {
            self.read = more;
        } else {
            self.kept.extend_from_slice(&std::mem::take(&mut self.read));
            self.kept.extend_from_slice(&more);
        }
        Poll::Ready(Ok(()))
    }

    pub fn poll_body(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        session: &Session,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Reading::Body(decoder) = &mut self.reading else {
                return Poll::Ready(None);
            };
            let piece = decoder.next(&mut self.read);
            if decoder.is_over() {
                self.reading = Reading::Rest;
                self.settle();
            }
            match piece {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(detail) => {
                    self.reading = Reading::Over;
                    return Poll::Ready(Some(Err(Fault::Malformed(detail))));
                }
            }
            // Whoever drives the connection need not have looked at the clock of late.
            session.tick();
            let read = ready!(inflow::poll_read(stream, cx)).unwrap_or_default();
            if read.is_empty() {
                self.has_ended = true;
                self.reading = Reading::Over;
                return Poll::Ready(Some(Err(Fault::Gone)));
            }
            session.received(read.len());
            self.read = read;
        }
    }

    pub fn is_whole(&self) -> bool {
        matches!(self.reading, Reading::Rest)
    }

    /// Bytes of the body that are still to come, if that is known.
    pub fn body_left(&self) -> Option<u64> {
        match &self.reading {
            Reading::Body(decoder) => decoder.left(),
            Reading::Head | Reading::Rest | Reading::Over => Some(0),
        }
    }

    /// Nobody wants the rest of the body; says whether that is there already.
    pub fn skip_body(&mut self) -> bool {
        let Reading::Body(decoder) = &mut self.reading else {
            return false;
        };
        while matches!(decoder.next(&mut self.read), Ok(Piece::Data(_) | Piece::Trailers(_))) {}
        let is_whole = decoder.is_over();
        self.reading = if is_whole { Reading::Rest } else { Reading::Over };
        is_whole
    }

    /// Reads what the client sends ahead; ready when it has gone.
    pub fn poll_gone(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>, half_close: bool) -> Poll<()> {
        while self.is_whole() && !self.has_ended && self.ahead().len() < AHEAD_MAX {
            let Ok(()) = ready!(self.poll_more(stream, cx)) else {
                return Poll::Ready(());
            };
            if self.has_ended && !half_close {
                return Poll::Ready(());
            }
            self.settle();
        }
        Poll::Pending
    }

    /// Something of the body has come, and has not been handed on.
    pub fn has_more(&self) -> bool {
        !self.is_quiet()
    }

    /// Whether the next request may begin, once this one has been read.
    pub fn turn(&mut self) -> Poll<bool> {
        match self.reading {
            Reading::Rest => {
                self.reading = Reading::Head;
                Poll::Ready(true)
            }
            Reading::Head | Reading::Over => Poll::Ready(false),
            Reading::Body(_) => Poll::Pending,
        }
    }
}

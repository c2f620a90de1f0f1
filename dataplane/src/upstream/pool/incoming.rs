use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::wire::Wire;
use crate::codec::Framing;
use crate::codec::decoder::{Decoder, Piece};
use crate::upstream::talk::Error;

/// The body of an upstream's answer. It comes as it is asked for.
pub struct Incoming {
    /// Until its end.
    wire: Option<Rc<Wire>>,
    decoder: Decoder,
    /// Not decoded yet.
    read: Bytes,
    /// The connection may serve another request behind it.
    is_persistent: bool,
}

impl Incoming {
    pub(super) fn new(wire: Rc<Wire>, framing: Framing, is_persistent: bool, read: Bytes) -> Incoming {
        let mut incoming = Incoming {
            wire: Some(wire),
            decoder: Decoder::new(framing),
            read,
            is_persistent,
        };
        incoming.end_if_over();
        incoming
    }

    /// What was read behind its end.
    pub(super) fn into_rest(self) -> Bytes {
        self.read
    }

    fn end_if_over(&mut self) {
        if self.decoder.is_over()
            && let Some(wire) = self.wire.take()
        {
            // What nobody has asked for may be taken for the answer to the next.
            wire.answered(self.is_persistent && self.read.is_empty());
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Error>> {
        loop {
            let piece = self.decoder.next(&mut self.read).map_err(Error::Malformed)?;
            let (Piece::More, Some(wire)) = (&piece, &self.wire) else {
                return Poll::Ready(Ok(piece));
            };
            self.read = ready!(wire.poll_read(cx))?;
            if self.read.is_empty() {
                let is_complete = self.decoder.end();
                return Poll::Ready(is_complete.then_some(Piece::End).ok_or(Error::Ended));
            }
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let incoming = self.get_mut();
        let piece = ready!(incoming.poll_next(cx));
        incoming.end_if_over();
        Poll::Ready(match piece {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End | Piece::More) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

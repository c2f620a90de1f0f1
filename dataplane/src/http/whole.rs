//! Short answers are there whole before anything of them goes on, as long as another upstream may still be asked: one that
//! breaks off is then no worse than none.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use shared::model::Timeouts;
use tokio::time::timeout_at;

use super::session::{Expired, Session};
use crate::upstream::pool::Incoming;
use crate::upstream::talk::Error;

/// Bytes. The answers of most programs are shorter, and come in one read or two, so that nobody waits for them; a client
/// begins sooner with a longer one if it gets what is there.
const WHOLE_MAX: u64 = 16 * 1024;
/// A program that sends a head writes its short body with it, or right behind; where it does not, the client is to see what
/// there is, as with any proxy.
const GATHER_FOR: Duration = Duration::from_millis(100);

/// The body of an upstream's answer: what has come of it, and what comes.
pub struct Rest {
    held: Bytes,
    incoming: Incoming,
}

/// Why the whole body has not come.
pub enum Short {
    /// The upstream has stood still for too long.
    Expired(Expired),
    Ended,
}

impl From<Incoming> for Rest {
    fn from(incoming: Incoming) -> Rest {
        Rest {
            held: Bytes::new(),
            incoming,
        }
    }
}

impl Rest {
    /// The upstream has switched protocols: what is there does not belong to an answer.
    pub fn into_incoming(self) -> Incoming {
        self.incoming
    }

    /// Whether it is worth waiting for: of known length, and short.
    pub fn is_short(&self) -> bool {
        let length = self.incoming.size_hint().exact();
        length.is_some_and(|length| length <= WHOLE_MAX)
    }

    /// Waits until all of it has come, but not for long: what comes later goes on as it comes.
    pub async fn gather(&mut self, session: &Session, timeouts: &Timeouts) -> Result<(), Short> {
        let until = session.now() + GATHER_FOR;
        let mut parts = BytesMut::new();
        session.awaits_answer(timeouts.idle, timeouts.idle);
        while !self.incoming.is_end_stream() {
            // Most of them have come with their head, and need no clock.
            let frame = match poll_fn(|cx| Poll::Ready(Pin::new(&mut self.incoming).poll_frame(cx))).await {
                Poll::Ready(frame) => Ok(frame),
                Poll::Pending => {
                    let coming = timeout_at(until, self.incoming.frame());
                    session.attempt(pin!(coming)).await.map_err(Short::Expired)?
                }
            };
            let frame = match frame {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_)) | None) => return Err(Short::Ended),
                Err(_) => break,
            };
            let Ok(data) = frame.into_data() else { continue };
            if parts.is_empty() && self.held.is_empty() {
                self.held = data;
                continue;
            }
            parts.extend_from_slice(&std::mem::take(&mut self.held));
            parts.extend_from_slice(&data);
        }
        if !parts.is_empty() {
            self.held = parts.freeze();
        }
        Ok(())
    }
}

impl Body for Rest {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let rest = self.get_mut();
        if rest.held.is_empty() {
            return Pin::new(&mut rest.incoming).poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut rest.held)))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        let mut hint = self.incoming.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(hint.lower().saturating_add(held));
        hint
    }
}

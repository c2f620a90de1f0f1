//! Writes an answer to its client.

mod head;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body, Frame};

pub use self::head::write_interim;
use super::answer::{Answer, Cut};
use super::wire::Wire;
use crate::codec::encoder::{Encoder, WrongLength};
use crate::codec::outbox::ROUNDS_MAX;

/// What an answer's head depends on besides the answer.
pub struct Manner {
    pub version: Version,
    pub is_head: bool,
    /// The client would send another request.
    pub persists: bool,
    pub takes_trailers: bool,
}

/// The answer cannot be written to its end. The client is not to take it for whole.
#[derive(Clone, Copy, Debug)]
pub struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken
    }
}

impl From<Cut> for Broken {
    fn from(_: Cut) -> Broken {
        Broken
    }
}

impl From<WrongLength> for Broken {
    fn from(_: WrongLength) -> Broken {
        Broken
    }
}

/// Ready once the kernel has all of it. Says whether the connection may serve another request.
pub async fn reply(wire: &Wire, answer: Response<Answer>, manner: &Manner) -> Result<bool, Broken> {
    let (head, body) = answer.into_parts();
    let now = wire.session().now();
    let plan = head::plan(&head, body.size_hint().exact(), manner);
    head::write(&head, &plan, manner, now, wire.outbox().lead());
    let encoder = Encoder::new(plan.framing);
    let mut writing = Writing {
        // Dropped, it has ended.
        body: plan.has_body.then_some(body),
        encoder,
        takes_trailers: manner.takes_trailers,
    };
    poll_fn(|cx| writing.poll(cx, wire)).await?;
    Ok(plan.persists)
}

struct Writing {
    /// None once all of it is in the outbox: whatever it holds is free before the client sees its end.
    body: Option<Answer>,
    encoder: Encoder,
    takes_trailers: bool,
}

impl Writing {
    fn poll(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<Result<(), Broken>> {
        for _ in 0..ROUNDS_MAX {
            let filled = self.fill(cx, wire);
            let flushed = wire.poll_flush(cx)?;
            match filled? {
                Poll::Ready(()) if self.body.is_none() => return flushed.map(Ok),
                Poll::Ready(()) => ready!(flushed),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready once the outbox has the rest, or no room.
    fn fill(&mut self, cx: &mut Context<'_>, wire: &Wire) -> Poll<Result<(), Broken>> {
        while let Some(body) = &mut self.body {
            if !wire.outbox().has_room() {
                break;
            }
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose()?;
            let is_last = frame.as_ref().is_none_or(Frame::is_trailers) || body.is_end_stream();
            if is_last {
                self.body = None;
            }
            self.put(frame, is_last, wire)?;
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, frame: Option<Frame<Bytes>>, is_last: bool, wire: &Wire) -> Result<(), WrongLength> {
        let outbox = &mut *wire.outbox();
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => self.encoder.data(data, is_last, outbox),
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().ok().filter(|_| self.takes_trailers);
                self.encoder.end(trailers.as_ref(), outbox)
            }
            None => self.encoder.end(None, outbox),
        }
    }
}

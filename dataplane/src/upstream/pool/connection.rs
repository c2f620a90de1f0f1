use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http::{Response, StatusCode, request, response};

use super::incoming::Incoming;
use super::wire::{Raw, Wire};
use crate::upstream::talk::{Error, OutBody, Reading, Writing};

/// A connection in the hands of one request. Dropped, it closes; `release` lets it be used again.
pub struct Connection {
    /// Until it is released.
    wire: Option<Rc<Wire>>,
    is_kept: bool,
}

impl Connection {
    pub(super) fn new(wire: Rc<Wire>, is_kept: bool) -> Connection {
        Connection {
            wire: Some(wire),
            is_kept,
        }
    }

    /// Whether it comes from the pool.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether the upstream has said anything since this request began.
    pub fn is_heard(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.is_heard())
    }

    /// Whether the upstream has stopped reading: of what was written since nothing has arrived.
    pub fn is_deaf(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.is_deaf())
    }

    /// Sends the request and waits for the head of its answer. Nothing waits from the first poll to the first write. What is
    /// left of the request then goes on by itself, in a task of its own, whether or not anybody reads the answer.
    ///
    /// `on_interim` hears what comes before the answer.
    pub async fn send<B: OutBody>(
        &mut self,
        head: &request::Parts,
        body: B,
        mut on_interim: impl FnMut(&response::Parts),
    ) -> Result<Box<Response<Incoming>>, Error> {
        let wire = self.wire.as_ref().ok_or(Error::GivenUp)?;
        let mut reading = Reading::new(head.method.clone());
        let mut writing = Writing::new(head, body);
        wire.begin();
        let exchange = poll_fn(|cx| wire.poll_exchange(&mut writing, &mut reading, cx, &mut on_interim));
        let head = exchange.await?;
        if !writing.is_done() {
            tokio::task::spawn_local(wire.clone().carry(writing));
        }
        let is_persistent = head.is_persistent && head.parts.status != StatusCode::SWITCHING_PROTOCOLS;
        let body = Incoming::new(wire.clone(), head.framing, is_persistent, reading.into_rest());
        Ok(Box::new(Response::from_parts(head.parts, body)))
    }

    /// The server has said for how long it keeps an idle connection.
    pub fn keep_for(&self, most: Duration) {
        if let Some(wire) = &self.wire {
            // It counts from its own last byte, and its FIN takes a moment.
            wire.keep_for(most.saturating_sub(Duration::from_secs(1)));
        }
    }

    /// The answer is complete: once the request is, too, the connection may serve another.
    pub fn release(mut self) {
        if let Some(wire) = self.wire.take() {
            wire.release();
        }
    }

    /// The upstream has switched protocols. `answer` is the body of its answer, behind which the other one begins.
    pub fn hand_over(mut self, answer: Incoming) -> Option<Raw> {
        let early = answer.into_rest();
        let stream = self.wire.take()?.take_stream()?;
        Some(Raw { stream, early })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(wire) = &self.wire
            && Rc::strong_count(wire) > 1
        {
            wire.give_up();
        }
    }
}

//! A request's body as it comes from the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::session::Fault;
use super::wire::Wire;

pub struct Intake {
    /// None once all of it has come, or nothing more will.
    wire: Option<Rc<Wire>>,
    /// The client waits to be asked for it.
    is_to_be_asked: bool,
}

impl Intake {
    /// Of the request whose head came last.
    pub fn new(wire: &Rc<Wire>) -> Intake {
        Intake {
            wire: (!wire.session().is_whole()).then(|| wire.clone()),
            is_to_be_asked: false,
        }
    }

    /// The client is to be told to go on when the body is first asked for (RFC 9110, 10.1.1).
    pub fn ask_first(&mut self) {
        self.is_to_be_asked = true;
    }
}

impl Body for Intake {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let intake = self.get_mut();
        let Some(wire) = &intake.wire else {
            return Poll::Ready(None);
        };
        if std::mem::take(&mut intake.is_to_be_asked) {
            wire.ask_for_body();
        }
        let frame = ready!(wire.poll_body(cx));
        if wire.session().is_whole() || !matches!(frame, Some(Ok(_))) {
            intake.wire = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.wire.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.wire {
            None => SizeHint::with_exact(0),
            Some(wire) => wire.body_left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if let Some(wire) = &self.wire {
            wire.give_up_body();
        }
    }
}

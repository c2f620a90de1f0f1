//! A client's socket: requests come out of it one at a time, each with its body, and answers go into it.
//!
//! ```text
//! Head → Body → Rest → Head …            anything → Over
//! ```
//!
//! Heads are for the connection's own task to read. A body is read by whoever sends it on, which may be another task once
//! its answer has gone; so whatever changes for the connection wakes the connection.

mod input;

use std::cell::{Cell, RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::Version;
use http_body::Frame;
use tokio::net::TcpStream;

use self::input::Input;
use super::head::{Head, Refused, RequestParts};
use super::session::{Fault, Session};
use crate::codec::outbox::Outbox;

/// Why there is no next request, if it is not that the client is done.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    Refused(Refused),
    /// The connection is.
    Broken,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Stop {
        Stop::Refused(refused)
    }
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Broken
    }
}

pub struct Wire {
    session: Rc<Session>,
    half_close: bool,
    /// The connection's own.
    task: RefCell<Waker>,
    /// Of whoever waits for more of a body, which may be another task.
    reader: Cell<Option<Waker>>,
    /// None once somebody else has the socket.
    open: RefCell<Option<Open>>,
    outbox: RefCell<Outbox>,
    /// The client knows of answers ahead of the answer.
    knows_interim: Cell<bool>,
}

struct Open {
    stream: TcpStream,
    input: Input,
}

impl Wire {
    pub fn new(stream: TcpStream, session: Rc<Session>, half_close: bool) -> Rc<Wire> {
        Rc::new(Wire {
            session,
            half_close,
            task: RefCell::new(Waker::noop().clone()),
            reader: Cell::default(),
            open: RefCell::new(Some(Open {
                stream,
                input: Input::default(),
            })),
            outbox: RefCell::default(),
            knows_interim: Cell::default(),
        })
    }

    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Whether the client may still be sending something that nobody will read.
    pub fn is_unread(&self) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.input.is_unread())
    }

    /// The socket, and what was read from it and not handed on. Whoever waits for a body hears that it does not come.
    pub fn take(&self) -> Option<(TcpStream, Bytes)> {
        let open = self.open.take()?;
        self.reader.take().into_iter().for_each(Waker::wake);
        Some((open.stream, open.input.into_rest()))
    }

    // For the connection's own task.

    /// At each of its polls: it is to be woken when something changes for it.
    pub fn belongs_to(&self, cx: &Context<'_>) {
        self.task.borrow_mut().clone_from(cx.waker());
    }

    /// The next request's head, or none where no more come.
    pub async fn request(&self) -> Result<Option<(RequestParts, Head)>, Stop> {
        poll_fn(|cx| {
            let open = &mut *self.open.borrow_mut();
            let Some(open) = open else { return Poll::Ready(Ok(None)) };
            let next = ready!(open.input.poll_request(&mut open.stream, cx, &self.session));
            if let Ok(Some((parts, _))) = &next {
                self.knows_interim.set(parts.version == Version::HTTP_11);
            }
            Poll::Ready(next)
        })
        .await
    }

    /// Lets a future run until the client has gone.
    pub async fn watched<T>(&self, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_gone(cx).map(|()| None),
        })
        .await
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        // What has been put there meanwhile.
        if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
            return Poll::Ready(());
        }
        let open = &mut *self.open.borrow_mut();
        let Some(open) = open else { return Poll::Ready(()) };
        ready!(open.input.poll_gone(&mut open.stream, cx, self.half_close));
        self.session.failed(Fault::Gone);
        Poll::Ready(())
    }

    /// What goes to the client, as far as the kernel has not taken it yet.
    pub fn outbox(&self) -> RefMut<'_, Outbox> {
        self.outbox.borrow_mut()
    }

    /// Ready once the kernel has all that was put there.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outbox = self.outbox.borrow_mut();
        while !outbox.is_empty() {
            let Some(open) = &mut *self.open.borrow_mut() else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match outbox.poll_write(&mut open.stream, cx) {
                Poll::Ready(written) => self.session.sent(written?),
                Poll::Pending => {
                    self.session.awaits_reader();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Once the answer has been sent: whether the next request may begin, as soon as this one has been read.
    pub async fn turn(&self) -> bool {
        poll_fn(|_| {
            let open = &mut *self.open.borrow_mut();
            let Some(open) = open else { return Poll::Ready(false) };
            match open.input.turn() {
                // Whoever reads the body wakes this task.
                Poll::Pending => Poll::Pending,
                Poll::Ready(turns) => {
                    if turns {
                        self.session.next();
                    }
                    Poll::Ready(turns)
                }
            }
        })
        .await
    }

    // For whoever reads a body.

    /// The next piece of the body that `decoder` is cutting out.
    pub fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let open = &mut *self.open.borrow_mut();
        let Some(open) = open else {
            return Poll::Ready(Some(Err(Fault::Gone)));
        };
        let polled = open.input.poll_body(&mut open.stream, cx, &self.session);
        match &polled {
            Poll::Ready(Some(Err(fault))) => {
                self.session.failed(*fault);
                self.wake_from(cx);
            }
            Poll::Ready(_) if open.input.is_whole() => {
                self.session.request_ended();
                self.wake_from(cx);
            }
            Poll::Ready(_) => {}
            Poll::Pending => {
                self.reader.set(Some(cx.waker().clone()));
                // There may be a deadline now where there was none.
                if self.session.awaits_client() {
                    self.wake_from(cx);
                }
            }
        }
        polled
    }

    /// Bytes of the body that are still to come, if that is known.
    pub fn body_left(&self) -> Option<u64> {
        self.open
            .borrow()
            .as_ref()
            .map_or(Some(0), |open| open.input.body_left())
    }

    /// Nobody wants the rest of the body.
    pub fn give_up_body(&self) {
        if let Some(open) = &mut *self.open.borrow_mut() {
            if open.input.skip_body() {
                self.session.request_ended();
            }
            self.task.borrow().wake_by_ref();
        }
    }

    /// Asks the client for the body, if it still has to be asked.
    pub fn ask_for_body(&self) {
        let has_come = self.open.borrow().as_ref().is_some_and(|open| open.input.has_more());
        if !has_come {
            self.inform(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
    }

    /// Says something ahead of the answer, which a client that takes nothing goes without.
    pub fn inform(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut outbox = self.outbox();
        if self.knows_interim.get() && !self.session.has_answer_begun() && outbox.has_room() {
            write(outbox.lead());
            self.task.borrow().wake_by_ref();
        }
    }

    fn wake_from(&self, cx: &Context<'_>) {
        let task = self.task.borrow();
        if !task.will_wake(cx.waker()) {
            task.wake_by_ref();
        }
    }
}
